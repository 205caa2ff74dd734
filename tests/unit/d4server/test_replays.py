"""Packets that came before."""

from __future__ import annotations

import time

import pytest

from d4server import replays
from d4server.replays import Replays


def test_a_packet_is_known_within_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    seen = Replays()
    assert not seen.came(b"a", 60)
    now += 59
    assert seen.came(b"a", 60)
    assert not seen.came(b"b", 60)
    now += 1
    assert not seen.came(b"a", 60), "it is so long ago that it is forgotten"
    assert seen.came(b"b", 60)
    now += 100
    assert not seen.came(b"c", 60)
    assert len(seen._came) == 1


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replays, "MOST", 10)
    seen = Replays()
    for number in range(100):
        assert not seen.came(b"%d" % number, 60)
        assert len(seen._came) <= 10
    assert seen.came(b"99", 60)
    assert not seen.came(b"1", 60)
