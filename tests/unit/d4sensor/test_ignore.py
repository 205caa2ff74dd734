"""Which events nobody wants to see."""

from __future__ import annotations

import re

import pytest

from d4common.event import Event
from d4sensor.ignore import Ignore


def event(src: str = "10.0.0.1", dst: str = "203.0.113.5", trail: str = "(cdn).evil.tld") -> Event:
    """An event."""
    return Event(1, 2, "sensor", src, "1", dst, "53", "UDP", "DNS", trail, "x (malware)", "(static)")


def test_nothing_is_ignored_by_default() -> None:
    assert not Ignore().ignores(event())


@pytest.mark.parametrize(
    "make", [lambda text: Ignore(sources=[text]), lambda text: Ignore(destinations=[text])]
)
@pytest.mark.parametrize(
    ("text", "address", "ignored"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.0/24", "192.0.2.200", True),
        ("192.0.2.0/24", "192.0.3.1", False),
        ("2001:db8::1", "2001:db8::1", True),
        ("2001:db8::/32", "2001:db8:5::6", True),
        ("2001:db8::/32", "2001:db9::6", False),
        ("192.0.2.0/24", "2001:db8::1", False),
    ],
)
def test_addresses(make: object, text: str, address: str, ignored: bool) -> None:
    ignore = make(text)  # type: ignore[operator]
    as_source, as_destination = event(src=address), event(dst=address)
    assert [ignore.ignores(as_source), ignore.ignores(as_destination)].count(True) == ignored


def test_source_is_the_source() -> None:
    assert Ignore(sources=["192.0.2.1"]).ignores(event(src="192.0.2.1"))
    assert Ignore(destinations=["192.0.2.1"]).ignores(event(dst="192.0.2.1"))
    assert Ignore(sources=["192.0.2.1"]).ignores(event(src="10.0.0.1,192.0.2.1")), "as a proxy tells it"


@pytest.mark.parametrize(
    ("text", "ignored"),
    [
        ("(cdn).evil.tld", True),
        ("cdn.evil.tld", True),
        ("CDN.evil.tld", True),
        ("*.evil.tld", True),
        ("*evil*", True),
        ("evil.tld", False),
        ("cdn.evil", False),
        ("cdn?evil.tld", False),
    ],
)
def test_trails(text: str, ignored: bool) -> None:
    assert Ignore(trails=["other.tld", text]).ignores(event()) == ignored


def test_expression_is_searched_in_the_line() -> None:
    assert Ignore(pattern=re.compile(r"10\.0\.0\.1 1 .* \(malware\)".replace(r"\(", r"\("))).ignores(event())
    assert Ignore(pattern=re.compile('"x .malware." .static.$')).ignores(event())
    assert not Ignore(pattern=re.compile("^evil")).ignores(event())
