"""Which source decides, and what is left out."""

from __future__ import annotations

import pytest

from d4sensor.indicator import parse
from d4sensor.merge import MAX_PATTERNS, Merged, merge
from d4sensor.trails import Entry, Trail
from d4sensor.whitelist import Whitelist


def entry(text: str, info: str = "bad", reference: str = "(static)") -> Entry:
    """What a source says."""
    return Entry(parse(text), Trail(info, reference))


def merged(*told: tuple[str, str, str], whitelist: str = "", minimum_feeds: int = 1) -> Merged:
    """What is left of what sources say: indicator, info and reference."""
    return merge((entry(*each) for each in told), Whitelist(whitelist.split()), minimum_feeds)


def decided(*told: tuple[str, str]) -> tuple[str, str]:
    """What is known in the end of an indicator about which this is told: info and reference."""
    return merged(*(("evil.tld", *each) for each in told)).entries["evil.tld"][:2]


@pytest.mark.parametrize(
    ("told", "info"),
    [
        ([("first", "a.org"), ("second", "b.org")], "second"),
        ([("malware", "a.org"), ("known attacker", "b.org")], "malware"),
        ([("known attacker", "a.org"), ("malware", "b.org")], "malware"),
        ([("x (malware)", "(static)"), ("malware", "b.org")], "x (malware)"),
        ([("malware", "b.org"), ("x (malware)", "(static)")], "x (malware)"),
        ([("malware", "b.org"), ("bad reputation", "(static)")], "bad reputation"),
        ([("malware", "b.org"), ("apt history (malware)", "(static)")], "malware"),
        ([("apt history (malware)", "(static)"), ("x (malware)", "(static)")], "x (malware)"),
        ([("x (malware)", "(static)"), ("our own", "(custom)")], "our own"),
        ([("our own", "(custom)"), ("mass scanner", "a.org")], "mass scanner"),
        ([("our own", "(custom)"), ("ipinfo", "a.org")], "ipinfo"),
        ([("ransomware", "a.org")], "ransomware (malware)"),
    ],
)
def test_who_decides(told: list[tuple[str, str]], info: str) -> None:
    assert decided(*told)[0] == info


def test_other_references_are_named() -> None:
    assert (
        decided(("a", "c.org"), ("b", "a.org"), ("x", "(static)"), ("y", "a.org"))[1]
        == "(static) (+a.org,c.org)"
    )
    assert decided(("a", "a.org"), ("b", "a.org"))[1] == "a.org"


def test_addresses_of_too_few_feeds_are_left_out() -> None:
    feeds = [(f"8.8.8.{n}", "known attacker", f"{m}.org") for n in range(1, 4) for m in range(n)]
    result = merged(*feeds, ("8.8.9.1", "x", "(static)"), ("2001:4860::1", "x", "a.org"), minimum_feeds=3)
    assert sorted(result.entries) == ["2001:4860::1", "8.8.8.3", "8.8.9.1"]
    assert result.dropped == {"addresses in too few feeds": 2}
    assert result.entries["8.8.8.3"].reference == "0.org (+1.org,2.org)"
    assert len(result.networks) == 3


def test_malware_of_an_address_is_potential() -> None:
    result = merged(("8.8.8.8", "malware", "a.org"), ("evil.tld", "malware", "a.org"))
    assert [trail.info for trail in result.entries.values()] == ["potential malware site", "malware"]


def test_words_and_patterns_of_feeds_are_left_out() -> None:
    result = merged(
        ("tk", "x", "a.org"),
        ("e[0-9].tld", "x", "a.org"),
        ("cc", "x", "(static)"),
        ("f[0-9].tld", "x", "(custom)"),
    )
    assert sorted(result.entries) == ["cc", "f[0-9].tld"]
    assert result.patterns == ["f[0-9].tld"]


def test_patterns_are_bounded() -> None:
    result = merged(*((f"e[0-9]x{n}.tld", "x", "(static)") for n in range(MAX_PATTERNS + 5)))
    assert len(result.patterns) == len(result.entries) == MAX_PATTERNS
    assert result.dropped == {f"patterns beyond {MAX_PATTERNS}": 5}


def test_whitelisted_are_left_out() -> None:
    told = ["good.tld", "www.good.tld", "8.8.8.8", "8.8.8.8:53", "8.8.8.8/x", "e[0-9].tld", "evil.tld"]
    result = merged(*((text, "x", "(static)") for text in told), whitelist="good.tld 8.8.8.0/24 e[0-9].tld")
    assert sorted(result.entries) == ["e[0-9].tld", "evil.tld"]
    assert result.networks == {}
    assert result.dropped == {"whitelisted": 4}


def test_this_host_and_its_network_are_left_out_unless_the_site_names_them() -> None:
    told = ["127.0.0.1", "192.168.1.1:80", "localhost/x", "localhost-evil.tld", "127.evil.tld"]
    assert sorted(merged(*((text, "x", "(static)") for text in told)).entries) == [
        "127.evil.tld",
        "localhost-evil.tld",
    ]
    assert len(merged(*((text, "x", "(custom)") for text in told)).entries) == 5


def test_addresses_that_nobody_has_are_left_out_of_feeds() -> None:
    told = [("10.0.0.1", "x", "a.org"), ("10.0.0.2:80", "x", "a.org"), ("10.0.0.3/x", "x", "a.org")]
    told += [
        ("10.0.0.4", "sinkhole x", "a.org"),
        ("10.0.0.5", "x", "(static)"),
        ("999.1.1.1/x", "x", "a.org"),
    ]
    assert sorted(merged(*told).entries) == ["10.0.0.4", "10.0.0.5", "999.1.1.1/x"]
