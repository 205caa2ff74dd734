"""What is said about an indicator."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sensing import trails_of

from d4sensor.indicator import IndicatorError
from d4sensor.lookup import lookup

TRAILS = trails_of(
    {
        "evil.tld": "name",
        "192.0.2.1": "address",
        "192.0.2.2:443": "endpoint",
        "198.51.100.0/24": "network",
        "2001:db8::1": "six",
        "[2001:db8::2]:443": "six endpoint",
        "/gate.php": "path",
        "evil.tld/a": "place",
        "bad[0-9]+.tld": "pattern",
        "t13d1516h2_8daaf6152771_02713d6af862": "client",
    }
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("evil.tld", [("DNS", "evil.tld")]),
        ("A.Evil.TLD.", [("DNS", "(a).evil.tld")]),
        ("good.tld", []),
        ("bad12.tld", [("DNS", "bad12.tld")]),
        ("192.0.2.1", [("IP", "192.0.2.1")]),
        ("192.0.2.1:80", [("IP", "192.0.2.1")]),
        ("192.0.2.2:443", [("IPORT", "192.0.2.2:443")]),
        ("192.0.2.2:80", []),
        ("198.51.100.7", [("IP", "198.51.100.0/24")]),
        ("198.51.100.0/24", [("IP", "198.51.100.0/24")]),
        ("2001:DB8:0::1", [("IP", "2001:db8::1")]),
        ("[2001:db8::1]:80", [("IP", "2001:db8::1")]),
        ("[2001:db8::2]:443", [("IPORT", "[2001:db8::2]:443")]),
        ("https://good.tld/x/gate.php", [("URL", "(good.tld/x)/gate.php")]),
        ("/gate.php", [("URL", "/gate.php")]),
        ("http://evil.tld/b", [("DNS", "evil.tld")]),
        ("http://198.51.100.9:8080/x", [("IP", "198.51.100.0/24")]),
        ("http://good.tld", []),
        ("t13d1516h2_8daaf6152771_02713d6af862", [("TLS", "t13d1516h2_8daaf6152771_02713d6af862")]),
    ],
)
def test_told(text: str, told: list[tuple[str, str]]) -> None:
    assert [answer.verdict[:2] for answer in lookup(text, TRAILS)] == told


def test_place_and_its_host_are_told() -> None:
    found = [answer.verdict.trail.info for answer in lookup("http://evil.tld/a?b=c", TRAILS)]
    assert found == ["place", "name"]


@pytest.mark.parametrize("text", ["", "1.2.3", "a b", "*.evil.tld"])
def test_what_is_no_indicator(text: str) -> None:
    with pytest.raises(IndicatorError):
        lookup(text, TRAILS)


@given(st.text(max_size=40) | st.from_regex(r"[a-z0-9./:\[\]?-]{0,30}", fullmatch=True))
def test_any_text_is_looked_up_or_refused(text: str) -> None:
    try:
        lookup(text, TRAILS)
    except IndicatorError:
        return
