"""How many different items a key was seen with, within a sliding window: the memory behind scan heuristics.

Most keys have one item. That waits in a table of fixed size, where another key's may take its place; only
a key with a second item gets to be remembered by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from d4sensor.contacts import Keys, slots_of
from d4sensor.headers import Positions

MAX_KEYS = 20_000
MAX_ITEMS = 100_000
"""What a Spread remembers at most; the keys that showed nothing new for longest make room."""

SLOTS = 1 << 16
"""First items that wait, at 21 bytes each."""

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
        self._waiting = _Waiting(SLOTS)
        self._seen: dict[int, dict[int, int]] = {}
        self._items = 0
        self._quiet: dict[int, int] = {}

    def over(self, keys: Keys, items: Keys, secs: Seconds) -> Iterator[int]:
        """Adds items to keys at these times, in seconds; yields the places at which a key exceeds a bound.

        A key does so once in the shortest window.
        """
        if not len(keys):
            return
        places, first = self._waiting.add(keys, items, secs)
        columns = places, keys[places], items[places], secs[places], *first
        least = self._bounds[0].most
        last: int | None = None
        known: dict[int, int] = {}
        for place, key, item, sec, first_key, first_item, first_sec in zip(
            *(column.tolist() for column in columns), strict=True
        ):
            if key != last:  # a scan is often one packet behind the other
                known = self._known(key, {first_item: first_sec} if first_key == key else {})
                last = key
            if item not in known:
                self._items += 1
            known[item] = sec
            if len(known) > least and self._is_over(key, known, sec):
                yield place
        if len(self._seen) > MAX_KEYS or self._items > MAX_ITEMS:
            self._make_room()

    def __len__(self) -> int:
        """Items that are remembered for their keys."""
        return self._items

    def _known(self, key: int, first: dict[int, int]) -> dict[int, int]:
        """What is known of a key: what was, or else its first item. It goes behind all others."""
        known = self._seen.pop(key, None)
        if known is None:
            known = first
            self._items += len(known)
        self._seen[key] = known
        return known

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


class _Waiting:
    """The only items of keys, in a table of fixed size in which a new key takes the place of another."""

    def __init__(self, slots: int) -> None:
        self._key = np.zeros(slots, np.uint64)
        self._item = np.zeros(slots, np.uint64)
        self._sec = np.zeros(slots, np.uint32)
        self._has_more = np.zeros(slots, bool)

    def add(self, keys: Keys, items: Keys, secs: Seconds) -> tuple[Positions, tuple[Keys, Keys, Seconds]]:
        """The places of what cannot wait here: all items, from this batch on, of keys that have several.

        With them come the key, the item and the time that wait in the slot of each.
        """
        slot = slots_of(keys, len(self._key))
        new = np.flatnonzero(self._key[slot] != keys)[::-1]  # backwards: the first of those in a slot stays
        at = slot[new]
        self._key[at], self._item[at], self._sec[at] = keys[new], items[new], secs[new]
        self._has_more[at] = False
        here = self._key[slot] == keys
        self._has_more[slot[here & (self._item[slot] != items)]] = True
        waits = here & ~self._has_more[slot]
        self._sec[slot[waits]] = secs[waits]
        if not here.all():
            driven_out = np.flatnonzero(~here)
            _, which, count = np.unique(keys[driven_out], return_inverse=True, return_counts=True)
            waits[driven_out[count[which] == 1]] = True  # or would, had it come in another batch
        places = np.flatnonzero(~waits)
        slot = slot[places]
        return places, (self._key[slot], self._item[slot], self._sec[slot])
