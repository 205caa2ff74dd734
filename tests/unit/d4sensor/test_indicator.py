"""What a line of a trail file names."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d4sensor.addresses import Network
from d4sensor.indicator import Indicator, IndicatorError, endpoint_text, landmark, parse


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("evil.tld", "evil.tld"),
        ("  EVIL.tld\t", "evil.tld"),
        (".cc", "cc"),
        ("evil.tld.", "evil.tld"),
        ("www.evil.tld", "evil.tld"),
        ("www.www.evil.tld", "evil.tld"),
        ("www.tld", "www.tld"),
        ("c_2.evil.tld", "c_2.evil.tld"),
        ("bücher.tld", "xn--bcher-kva.tld"),
        ("qq10001.de5", "qq10001.de5"),
        ("evil.tld?id=", "evil.tld"),
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:443", "192.0.2.1:443"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("[2001:db8:0:0:200:0:0:7f9]:443", "[2001:db8::200:0:0:7f9]:443"),
        ("[0:0:0:0:0:ffff:2d3e:c649]:53", "[::ffff:45.62.198.73]:53"),
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("192.0.2.1/32", "192.0.2.1"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("/gate.php", "/gate.php"),
        ("/Panel/Login/", "/panel/login"),
        ("/panel/", "/panel"),
        ("/api///x?id=", "/api/x?id="),
        ("/CJ택배 V_10.apk", "/cj%ed%83%9d%eb%b0%b0%20v_10.apk"),
        ("evil.tld/", "evil.tld/"),
        ("evil.tld/a/b/", "evil.tld/a/b"),
        ("www.evil.tld/a", "evil.tld/a"),
        ("evil.tld:8080/a", "evil.tld:8080/a"),
        ("192.0.2.1/24", "192.0.2.1/24"),
        ("http://evil.tld", "evil.tld/"),
        ("https://192.0.2.1:8080", "192.0.2.1:8080/"),
        ("E7EECED71CFD0E59B3C2A4D1F0A9B8C7D6E5F403", "e7eeced71cfd0e59b3c2a4d1f0a9b8c7d6e5f403"),
        ("t13d1516h2_8daaf6152771_02713d6af862", "t13d1516h2_8daaf6152771_02713d6af862"),
        ("http://192.0.2.1/a.sh", "192.0.2.1/a.sh"),
    ],
)
def test_key(line: str, key: str) -> None:
    assert parse(line).key == key


@pytest.mark.parametrize(
    ("line", "network"),
    [
        ("192.0.2.1", Network(bytes((192, 0, 2, 1)), 32)),
        ("192.0.2.1:443", Network(bytes((192, 0, 2, 1)), 32)),
        ("192.0.2.0/24", Network(bytes((192, 0, 2, 0)), 24)),
        ("[2001:db8::1]:443", Network(bytes.fromhex("20010db8000000000000000000000001"), 128)),
        ("2001:db8::/32", Network(bytes.fromhex("20010db8000000000000000000000000"), 32)),
        ("evil.tld", None),
        ("http://192.0.2.1", None),
    ],
)
def test_addresses_that_packets_must_have(line: str, network: Network | None) -> None:
    assert parse(line).network == network


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("182.86.133", "'182.86.133' is not an address"),
        ("192.0.2.256", "'192.0.2.256' is not an address"),
        ("192.0.2.1::8080", "'192.0.2.1::8080' is not an address"),
        ("192.0.2.1:53:53", "'192.0.2.1:53:53' is not an address"),
        ("192.0.2.1:0", "'0' is not a port from 1 to 65535"),
        ("192.0.2.1:" + "9" * 5000, "'" + "9" * 5000 + "' is not a port from 1 to 65535"),
        ("192.0.2.1:66086", "'66086' is not a port from 1 to 65535"),
        ("192.0.2.1:", "'' is not a port from 1 to 65535"),
        ("[2001:db8::g]:443", "'2001:db8::g' is not an address"),
        ("evil.tld:443", "'evil.tld' is not an address"),
        ("*.evil.tld", "'*.evil.tld' is not a regular expression: nothing to repeat at position 0"),
        ("[[a]evil.tld", "is not a regular expression: Possible nested set"),
        ("evil[0-9]{99999999999}.tld", "is not a regular expression: the repetition number is too large"),
        ("evil .*", "'evil .*' is not a pattern of names"),
        ("[a-z]+", "'[a-z]+' is not a pattern of names"),
        ("0.0.0.0/0", "a network of all addresses is not a trail"),
        ("/", "a path names more than the slash"),
        ("a b", "'a b' is neither a name nor an address"),
        (f"{'x' * 64}.tld", f"'{'x' * 64}.tld' is neither a name nor an address"),
        (".", "'.' is neither a name nor an address"),
        ("e vil.tld/a", "'e vil.tld' is neither a name nor an address"),
    ],
)
def test_line_that_names_nothing(line: str, reason: str) -> None:
    with pytest.raises(IndicatorError, match=re.escape(reason)):
        parse(line)


@pytest.mark.parametrize(
    ("key", "mark"),
    [
        ("evil.tld/", "evil.tld/"),
        ("evil.tld:8080/a/b", "evil.tld:8080/"),
        ("/gate.php", "/gate.php"),
        ("/a/b.php?x=/c", "/b.php"),
        ("/a/?x=", "/a"),
        ("/?x=", "/"),
    ],
)
def test_landmark(key: str, mark: str) -> None:
    assert landmark(key) == mark


def test_endpoint_text() -> None:
    assert endpoint_text("192.0.2.1", 443) == "192.0.2.1:443"
    assert endpoint_text("2001:db8::1", 443) == "[2001:db8::1]:443"


@pytest.mark.parametrize("line", [r"q(l|r)[0-9]{5}\.pw", "helplog[0-9].cf", r"^\S{3}-evil\.(tld|org)$"])
def test_pattern_is_its_own_key(line: str) -> None:
    assert parse(f" {line} ") == Indicator(line, None, pattern=True)
    assert not parse("evil.tld").pattern


@settings(max_examples=1000)
@given(st.text(max_size=60) | st.from_regex(r"[a-z0-9./:\[\]?-]{0,40}", fullmatch=True))
def test_any_line_is_an_indicator_or_an_error(line: str) -> None:
    try:
        indicator = parse(line)
    except IndicatorError:
        return
    assert indicator.key
    assert parse(indicator.key).key == indicator.key, "a key is its own key"
