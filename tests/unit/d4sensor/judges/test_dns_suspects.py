"""Names that trails may hold, sorted out of many: never too few of them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from naming import rows_of
from sensing import trails_of

from d4sensor.judges import dns_names, dns_rows, dns_suspects
from d4sensor.judges.dns_suspects import Texts
from d4sensor.trails import Trail, Trails


def suspects(names: list[str], trails: Trails) -> list[str]:
    """Those that are suspected."""
    hosts = rows_of(*names)
    found = dns_suspects.find(hosts, dns_rows.suffixes(hosts), trails)
    return dns_rows.texts(hosts.rows[found])


@pytest.mark.parametrize(
    ("trail", "name"),
    [
        ("evil.tld", "evil.tld"),
        ("evil.tld", "a.b.evil.tld"),
        ("tld", "a.b.evil.tld"),
        ("abc.onion", "abc.onion.to"),
        ("abc.tld", "abc.tld.ip-adress.com"),
        ("evil[0-9]+.tld", "x.evil12.tld.com"),
        (r"q[0-9]\.pw", f"{'x' * 24}.{'x' * 29}.q1.pw"),
        ("[a-z]{3}.tld", "abc.tld"),
        ("none.tld", f"{'x' * 25}.tld"),
    ],
)
def test_name_that_a_trail_holds(trail: str, name: str) -> None:
    assert suspects(["good.com", name, "bad.org"], trails_of({trail: "bad"})) == [name]


def test_most_names_are_not_suspected() -> None:
    names = [f"n{n}.d{n % 7}.com" for n in range(1000)]
    assert suspects(names, trails_of({"evil.tld": "bad", "evil[0-9]+.tld": "bad"})) == []


def test_no_names() -> None:
    assert suspects([], trails_of({"evil.tld": "bad"})) == []


characters = "abcxyz0-_"
label = st.text(characters, min_size=1, max_size=30)
short = st.lists(label, min_size=2, max_size=9).map(".".join).filter(lambda name: len(name) <= 60)


@given(st.data(), st.lists(short, min_size=1, max_size=5))
def test_whatever_has_a_verdict_is_suspected(data: st.DataObject, names: list[str]) -> None:
    pieces = st.sampled_from(names).flatmap(
        lambda name: st.integers(0, len(name) - 1).map(lambda at: name[at:].strip("."))
    )
    keys = data.draw(st.lists(pieces.filter(bool), max_size=3))
    patterns = data.draw(
        st.lists(pieces.filter(bool).map(lambda text: f"{re.escape(text[:9])}[a-z0]?"), max_size=2)
    )
    trails = Trails(dict.fromkeys([*keys, *patterns, "abc.onion"], Trail("bad", "(static)")), [], patterns)
    names += [f"{name}.onion.to" for name in ("abc", "x.abc")]
    found = suspects(names, trails)
    for name in filter(dns_names.is_judged, names):
        assert name in found or dns_names.of(name, trails) is None


@given(st.lists(st.text(characters + ".", max_size=9), min_size=1), st.lists(short, min_size=1, max_size=5))
def test_texts_are_found_wherever_they_are(texts: list[str], names: list[str]) -> None:
    may = Texts(texts).may_be_in(rows_of(*names).rows).tolist()
    for name, found in zip(names, may, strict=True):
        assert found or not any(text in name for text in texts)
