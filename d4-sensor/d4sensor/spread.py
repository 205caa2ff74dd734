"""How many different items a key was seen with, within a sliding window: the memory behind scan heuristics.

Most keys have one item. That waits in a table of fixed size, where another key's may take its place; only
a key with a second item gets to be remembered by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from d4sensor.contacts import Keys, slots_of
from d4sensor.headers import Mask

MAX_KEYS = 20_000
MAX_ITEMS = 100_000
"""What a Spread remembers at most; the keys that showed nothing new for longest make room."""

SLOTS = 1 << 16
"""First items that wait, at 20 bytes each."""

Seconds = NDArray[np.uint32]


class Bound(NamedTuple):
    """More than ``most`` different items within ``seconds`` are too many."""

    seconds: int
    most: int


class Spread:
    """The latest items of each key, as few as decide about its bounds."""

    def __init__(self, *bounds: Bound) -> None:
        """``bounds`` come in order: the longer, the more items."""
        self._bounds = bounds
        self._waiting: tuple[NDArray[Any], ...] = (
            np.zeros(SLOTS, np.uint64),
            np.zeros(SLOTS, np.uint64),
            np.zeros(SLOTS, np.uint32),
        )
        self._seen: dict[int, dict[int, int]] = {}
        self._items = 0
        self._quiet: dict[int, int] = {}

    def over(self, keys: Keys, items: Keys, secs: Seconds) -> Iterator[int]:
        """Adds items to keys at these times, in seconds; yields the places at which a key exceeds a bound.

        A key does so once in the shortest window.
        """
        if not len(keys):
            return
        order = np.argsort(keys, kind="stable")
        keys, items, secs = keys[order], items[order], secs[order]
        begins, ends = _groups(keys)
        first, is_second = self._wait(keys, items, secs)
        chosen = np.flatnonzero(is_second | ~begins | ~ends)
        places, each_key, each_item, each_sec = (
            column[chosen].tolist() for column in (order, keys, items, secs)
        )
        starts = np.flatnonzero(_groups(keys[chosen])[0])
        waiting = zip(*(column[chosen[starts]].tolist() for column in first), strict=True)
        for (start, end), (first_key, item, sec) in zip(
            pairwise([*starts.tolist(), len(chosen)]), waiting, strict=True
        ):
            key = each_key[start]
            known = self._seen.pop(key, None)
            if known is None:
                known = {item: sec} if first_key == key else {}
                self._items += len(known)
            self._seen[key] = known  # behind all others
            for n in self._add(key, known, each_item[start:end], each_sec[start:end]):
                yield places[start + n]
        if len(self._seen) > MAX_KEYS or self._items > MAX_ITEMS:
            self._make_room()

    def __len__(self) -> int:
        """Items that are remembered for their keys."""
        return self._items

    def _wait(self, keys: Keys, items: Keys, secs: Seconds) -> tuple[tuple[NDArray[Any], ...], Mask]:
        """What waits in the slots of these keys, and which items are the second of a key by that.

        The items of new keys wait from now on.
        """
        slot = slots_of(keys, SLOTS)
        waiting_keys, waiting_items, waiting_secs = self._waiting
        first = waiting_keys[slot], waiting_items[slot], waiting_secs[slot]
        new = first[0] != keys
        slot = slot[new]
        waiting_keys[slot], waiting_items[slot], waiting_secs[slot] = keys[new], items[new], secs[new]
        return first, ~new & (first[1] != items)

    def _add(self, key: int, known: dict[int, int], items: list[int], secs: list[int]) -> Sequence[int]:
        """Adds items to those known of a key; the places at which it exceeds a bound."""
        least, before = self._bounds[0].most, len(known)
        if before + len(items) <= least:
            known.update(zip(items, secs, strict=True))
            self._items += len(known) - before
            return ()
        exceeds = []
        for n, (item, sec) in enumerate(zip(items, secs, strict=True)):
            before = len(known)
            known[item] = sec
            self._items += len(known) - before
            if len(known) > least and self._is_over(key, known, sec):
                exceeds.append(n)
        return exceeds

    def _is_over(self, key: int, known: dict[int, int], sec: int) -> bool:
        """Whether a key exceeds a bound for the first time in a window; then it begins anew."""
        times = sorted(known.values(), reverse=True)
        self._items -= len(known)
        if any(len(times) > most and sec - times[most] < seconds for seconds, most in self._bounds):
            known.clear()
            return self._is_news(key, sec)
        seconds, most = self._bounds[-1]
        if len(known) > most:
            for item in [item for item, when in known.items() if sec - when >= seconds]:
                del known[item]
        self._items += len(known)
        return False

    def _is_news(self, key: int, sec: int) -> bool:
        shortest = self._bounds[0].seconds
        if 0 <= sec - self._quiet.get(key, sec - shortest) < shortest:
            return False
        if len(self._quiet) >= MAX_KEYS:
            self._quiet.clear()
        self._quiet[key] = sec
        return True

    def _make_room(self) -> None:
        """Forgets keys, those at the front, until a part of the room is free."""
        for key in list(islice(self._seen, len(self._seen) // 2)):
            if len(self._seen) <= MAX_KEYS * 7 // 8 and self._items <= MAX_ITEMS * 7 // 8:
                return
            self._items -= len(self._seen.pop(key))


def _groups(keys: Keys) -> tuple[Mask, Mask]:
    """Which of the keys, that are in order, are the first of their kind, and which are the last."""
    changes = keys[1:] != keys[:-1]
    end = np.ones(min(len(keys), 1), dtype=bool)
    return np.concatenate((end, changes)), np.concatenate((changes, end))
