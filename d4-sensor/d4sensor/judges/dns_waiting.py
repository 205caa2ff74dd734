"""Names below domains that few names are asked for: they wait, uncounted, until there are many of a domain.

Domains are told apart by slots, their CRC-32 modulo SLOTS. Where several share one, their names merely are
counted sooner than they had to be.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from d4sensor.headers import Mask, Positions
from d4sensor.judges.dns_rows import WIDTH, texts

SLOTS = 1 << 16

MANY = 500
"""Names of a slot with which they wait no longer."""

MAX_WAITING = 50_000
"""Names that wait, at 72 bytes each. Under a flood of domains those of the slots with the most names stay."""

Slots = NDArray[np.intp]


class Waiting:
    """The names that wait, and how many names each slot had."""

    def __init__(self) -> None:
        self._slots = np.empty(MAX_WAITING, dtype=np.intp)
        self._rows = np.empty((MAX_WAITING, WIDTH), dtype=np.uint8)
        self.forget()

    def forget(self) -> None:
        """Begins anew, as if no name had come."""
        self._size = 0
        self._had = np.zeros(SLOTS, dtype=np.uint32)
        self._left = np.zeros(SLOTS, dtype=bool)

    def __len__(self) -> int:
        return self._size

    def add(self, rows: NDArray[np.uint8], slots: Slots) -> Positions:
        """Adds names, in rows as Names has them, of these slots.

        The places of those that do not wait, because their slots have many.
        """
        np.add.at(self._had, slots, 1)
        many = self._left[slots] | (self._had[slots] >= MANY)
        few = np.flatnonzero(~many)[:MAX_WAITING]
        if self._size + len(few) > MAX_WAITING:
            self._make_room()
        end = self._size + len(few)
        self._slots[self._size : end] = slots[few]
        self._rows[self._size : end] = rows[few]
        self._size = end
        return np.flatnonzero(many)

    def leave(self, slots: Slots) -> list[str]:
        """The names of these slots that wait; from now on none of them waits."""
        new = ~self._left[slots]
        if not new.any():
            return []
        self._left[slots] = True
        leaving = self._left[self._slots[: self._size]]
        names = texts(self._rows[: self._size][leaving])
        self._keep(~leaving)
        return names

    def _make_room(self) -> None:
        """Keeps the names of slots that had more than usual; none where these leave no room."""
        had = self._had[self._slots[: self._size]]
        heavy = had > had.mean()
        self._keep(heavy & (np.count_nonzero(heavy) <= MAX_WAITING // 2))

    def _keep(self, kept: Mask) -> None:
        size = np.count_nonzero(kept)
        self._slots[:size], self._rows[:size] = self._slots[: len(kept)][kept], self._rows[: len(kept)][kept]
        self._size = size
