"""Names that wait until there are many of a domain."""

from __future__ import annotations

import numpy as np
import pytest
from naming import rows_of

from d4sensor.judges import dns_waiting
from d4sensor.judges.dns_waiting import MANY, Waiting


def add(waiting: Waiting, slot: int, *names: str) -> list[int]:
    """Adds names of one slot; the places of those that do not wait."""
    return waiting.add(rows_of(*names).rows, np.full(len(names), slot)).tolist()


def test_names_wait_until_there_are_many() -> None:
    waiting = Waiting()
    names = [f"n{n}.tld" for n in range(MANY)]
    assert add(waiting, 7, *names[:-1]) == add(waiting, 8, "other.tld") == []
    assert len(waiting) == MANY
    assert add(waiting, 7, names[-1]) == [0]
    slots = np.array([7])
    assert waiting.leave(slots) == names[:-1]
    assert waiting.leave(slots) == []
    assert len(waiting) == 1
    assert add(waiting, 7, "one.tld") == [0]


def test_once_they_left_none_waits() -> None:
    waiting = Waiting()
    assert waiting.leave(np.array([7])) == []
    assert add(waiting, 7, "one.tld") == [0]
    waiting.forget()
    assert add(waiting, 7, "one.tld") == []


def test_memory_is_bounded_under_a_flood_of_domains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_waiting, "MAX_WAITING", 40)
    waiting = Waiting()
    for n in range(300):
        add(waiting, n, "flood.tld")
        if n % 10 == 0:
            add(waiting, 999, f"n{n}.tld")
        assert len(waiting) <= 40
    # Where even those with the most are too many, they go too.
    left = waiting.leave(np.array([999]))
    assert left == [f"n{n}.tld" for n in range(300 - len(left) * 10, 300, 10)] != []
