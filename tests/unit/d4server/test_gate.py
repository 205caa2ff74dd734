"""Limits by address."""

from __future__ import annotations

import pytest

from d4common.session import Reason, Refused
from d4server import gate
from d4server.blacklist import Blacklist
from d4server.config import Limits
from d4server.gate import Gate, Place


def refused(entrance: Gate, address: str, limits: Limits) -> Reason | None:
    """Why a connection is refused, if it is."""
    try:
        entrance.enter(address, limits)
    except Refused as refusal:
        return refusal.reason
    return None


def entrance(*listed: bytes) -> Gate:
    blacklist = Blacklist()
    blacklist.take(frozenset(listed), ())
    return Gate(blacklist)


def test_connections_at_once_are_limited() -> None:
    limits, at = Limits(connections=2), entrance()
    places = [at.enter(address, limits) for address in ("192.0.2.1", "192.0.2.2")]
    assert refused(at, "192.0.2.3", limits) is Reason.CONNECTIONS
    places[0].leave()
    assert refused(at, "192.0.2.3", limits) is None


def test_files_limit_connections_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "_most_files", lambda: gate.OTHER_FILES + 1)
    at = entrance()
    at.enter("192.0.2.1", Limits())
    assert refused(at, "192.0.2.2", Limits()) is Reason.CONNECTIONS


@pytest.mark.parametrize(
    ("one", "same", "other"),
    [
        ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("2001:db8::1", "2001:db8::ffff:0:0:1", "2001:db8:0:1::1"),
        ("fe80::1%eth0", "fe80::2%eth1", "fe80:0:0:1::1"),
    ],
)
def test_connections_of_an_address_are_limited(one: str, same: str, other: str) -> None:
    limits, at = Limits(address_connections=1), entrance()
    place = at.enter(one, limits)
    assert refused(at, same, limits) is Reason.ADDRESS_CONNECTIONS
    assert refused(at, other, limits) is None
    place.leave()
    assert refused(at, same, limits) is None


def test_what_has_left_is_forgotten() -> None:
    at = entrance()
    at.enter("192.0.2.1", Limits()).leave()
    assert not at.places and not at.strangers


def test_new_connections_of_an_address_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    limits, at = Limits(address_rate=2), entrance()
    for _ in range(2):
        at.enter("192.0.2.1", limits).leave()
    assert refused(at, "192.0.2.1", limits) is Reason.ADDRESS_RATE
    assert refused(at, "192.0.2.2", limits) is None
    monkeypatch.setattr(gate, "WINDOW", 0)
    assert refused(at, "192.0.2.1", limits) is None


def test_the_table_of_addresses_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "MOST_COUNTED", 10)
    at = entrance()
    for number in range(100):
        at.enter(f"192.0.2.{number}", Limits())
        assert len(at._came) <= 10


def test_a_stranger_who_takes_long_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ended, and the newcomer has its place; who has proved itself stays."""
    monkeypatch.setattr(gate, "MOST_STRANGERS", 2)
    monkeypatch.setattr(gate, "PATIENCE", 0)
    at, ended = entrance(), list[str]()
    for name in ("sensor", "slow", "slower"):
        place = at.enter("192.0.2.1", Limits())
        place.end = lambda name=name: ended.append(name)  # type: ignore[misc]
        if name == "sensor":
            place.prove()
    at.enter("192.0.2.2", Limits())
    assert ended == ["slow"]


def test_where_all_strangers_are_new_nobody_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "MOST_STRANGERS", 1)
    at, ended = entrance(), list[Place]()
    place = at.enter("192.0.2.1", Limits())
    place.end = lambda: ended.append(place)
    assert refused(at, "192.0.2.2", Limits()) is Reason.STRANGERS
    assert not ended
    place.prove()
    assert refused(at, "192.0.2.2", Limits()) is None


def test_who_is_on_the_blacklist_is_refused_before_he_is_counted() -> None:
    at = entrance(b"192.0.2.0/24")
    assert refused(at, "192.0.2.7", Limits()) is Reason.BLACKLIST
    assert not at.places and not at._came
    assert refused(at, "192.0.3.7", Limits()) is None
