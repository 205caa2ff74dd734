"""Which names were judged lately."""

from __future__ import annotations

import numpy as np

from d4sensor.judges.dns_memory import Memory

KEYS = np.array([5 << 60, 6 << 60, 7 << 60], dtype=np.uint64)


def test_names_are_new_once_and_what_they_show_is_remembered() -> None:
    memory = Memory()
    assert [mask.tolist() for mask in memory.of(KEYS)] == [[True] * 3, [False] * 3]
    memory.note(KEYS[:2], np.array([True, False]))
    assert [mask.tolist() for mask in memory.of(KEYS)] == [[False, False, True], [True, False, False]]


def test_name_takes_the_place_of_another() -> None:
    memory = Memory(bits=1)
    memory.note(KEYS[1:2], np.array([True]))
    memory.note(KEYS[2:], np.array([False]))
    assert [mask.tolist() for mask in memory.of(KEYS[1:])] == [[True, False], [False, False]]
