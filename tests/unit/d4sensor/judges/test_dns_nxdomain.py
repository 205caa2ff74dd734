"""Answers that there is no such domain."""

from __future__ import annotations

from collections.abc import Iterable

import frames
import pytest
from sensing import SECOND, batch, trails_of

from d4sensor.engine import Engine
from d4sensor.judges import dns_nxdomain
from d4sensor.judges.dns_names import MAX_TEXT
from d4sensor.judges.dns_nxdomain import MOST, NoSuchDomain
from d4sensor.trails import Trails

NONE = trails_of({})
RESOLVER, CLIENT = "10.0.0.53", "10.0.0.1"
EXCESSIVE = "excessive no such domain (suspicious)"
ENTROPY = "entropy threshold no such domain (suspicious)"
CONSONANTS = "consonant threshold no such domain (suspicious)"


def denied(name: str, flags: int = 0x8183) -> bytes:
    """A resolver's answer that there is no such domain."""
    return frames.udp(RESOLVER, 53, CLIENT, 40000, frames.dns(name, flags=flags))


def said(
    names: Iterable[str], judge: NoSuchDomain | None = None, second: int = 0, trails: Trails = NONE
) -> list[tuple[str, str]]:
    """Text and info of the verdicts on names that are denied in the same second."""
    judge = judge or NoSuchDomain()
    return [(v.text, v.trail.info) for name in names for v in judge.of(name, second, trails)]


def test_event_of_a_name_that_is_denied_too_often_to_a_private_client() -> None:
    (event,) = Engine(NONE, "sensor").judge(batch(*[denied("www.gone.tld")] * (MOST + 1)))
    assert event.line().split(" ", 3)[3] == (
        f'{RESOLVER} 53 {CLIENT} 40000 UDP DNS www.gone.tld "{EXCESSIVE}" (heuristic)'
    )


def test_as_often_as_may_be() -> None:
    assert said(["www.gone.tld"] * MOST) == []


def test_counting_begins_anew_after_an_event() -> None:
    assert said(["www.gone.tld"] * (2 * MOST + 2)) == [("www.gone.tld", EXCESSIVE)] * 2
    assert said(["www.gone.tld"] * (2 * MOST + 1)) == [("www.gone.tld", EXCESSIVE)]


def test_different_names_below_one_domain() -> None:
    names = [f"n{n}.x.gone.tld" for n in range(MOST + 1)]
    prefixes = ",".join(sorted(f"n{n}.x" for n in range(MOST + 1)))
    assert said(names) == [(f"({prefixes}).gone.tld", EXCESSIVE)]
    assert said(names[:MOST]) == []


def test_text_of_many_long_names_is_bounded() -> None:
    ((text, _),) = said(f"{'x' * 60}{n}.gone.tld" for n in range(MOST + 1))
    assert len(text) == MAX_TEXT and text.endswith(").gone.tld")


def test_clock_hours_count_apart() -> None:
    judge = NoSuchDomain()
    assert said(["www.gone.tld"] * MOST, judge, 7199) == []
    assert said(["www.gone.tld"] * MOST, judge, 7200) == []
    assert said(["www.gone.tld"], judge, 10799) == [("www.gone.tld", EXCESSIVE)]


@pytest.mark.parametrize(
    ("name", "info"),
    [
        ("qwertzuiopasd.tld", ENTROPY),
        ("abcdefghijkl.tld", ENTROPY),
        ("bbccbbccbbccb.tld", CONSONANTS),
        ("bbccbbccb.tld", ""),
        ("google.tld", ""),
        ("qwertzuio-pasd.tld", ""),
        ("qwertzuiopasd.a.tld", ""),
        ("www.qwertzuiopasd.tld", ""),
        (".tld", ""),
    ],
)
def test_names_that_an_algorithm_has_made(name: str, info: str) -> None:
    label = name.partition(".")[0]
    assert said([name]) == ([(f"({label}).tld", info)] if info else [])


@pytest.mark.parametrize("name", ["qwertzuiopasd.1", "192.0.2.1.zen.dnsbl.tld"])
def test_what_is_no_name(name: str) -> None:
    assert said([name] * 50) == []


def test_numbers_that_are_no_address() -> None:
    assert said(["300.0.2.1.a.tld"] * 21) == [("300.0.2.1.a.tld", EXCESSIVE)]


def test_listed_and_whitelisted_names() -> None:
    assert said(["qwertzuiopasd.tld"] * 50, trails=trails_of({"qwertzuiopasd.tld": "bad"})) == []
    assert said(["x.gone.tld"] * 50, trails=trails_of({"gone.tld": "bad"})) == []
    assert said(["x.gone.tld"] * 50, trails=Trails({}, [], whitelist=["gone.tld"])) == []


@pytest.mark.parametrize(
    ("flags", "reported"),
    [(0x8183, True), (0x8583, True), (0x81A3, True), (0x8103, False), (0x8180, False), (0x8182, False)],
)
def test_only_what_resolvers_deny(flags: int, reported: bool) -> None:
    assert bool(Engine(NONE, "sensor").judge(batch(denied("qwertzuiopasd.tld", flags)))) == reported


@pytest.mark.parametrize(
    ("disabled", "infos"),
    [
        ("no_such_domain", {ENTROPY}),
        ("dga", {EXCESSIVE}),
        ("", {ENTROPY, EXCESSIVE}),
    ],
)
def test_each_can_be_disabled(disabled: str, infos: set[str]) -> None:
    engine = Engine(NONE, "sensor", frozenset({disabled}))
    seconds = range(SECOND, SECOND + 30)
    events = [event for sec in seconds for event in engine.judge(batch(denied("qwertzuiopasd.tld"), sec=sec))]
    assert {event.info for event in events} == infos


def test_reload_does_not_forget() -> None:
    engine = Engine(NONE, "sensor")
    assert engine.judge(batch(*[denied("www.gone.tld")] * MOST)) == []
    engine.trails = trails_of({})
    assert len(engine.judge(batch(denied("www.gone.tld")))) == 1


def test_memory_is_bounded_under_a_flood_that_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_nxdomain, "MAX_ANSWERS", 1000)
    judge, found = NoSuchDomain(), []
    for n in range(3000):
        found += said([f"x.domain{n}.tld"], judge)
        if n % 100 == 0:
            found += said(["www.gone.tld"], judge)
        assert judge._held <= 1001
    assert judge._held == sum(map(len, judge._names.values()))
    assert found == [("www.gone.tld", EXCESSIVE)] * len(found) != []
