"""Which names were judged lately, by their keys."""

from __future__ import annotations

import numpy as np

from d4sensor.headers import Mask
from d4sensor.judges.dns_rows import Keys


class Memory:
    """A table of fixed size: another name may take the place of one, which then is new again."""

    def __init__(self, bits: int = 17) -> None:
        """It has 2**bits places of 9 bytes."""
        self._beside = np.uint64(64 - bits)
        self._keys = np.zeros(1 << bits, dtype=np.uint64)
        self._shows = np.zeros(1 << bits, dtype=bool)

    def of(self, keys: Keys) -> tuple[Mask, Mask]:
        """Which names are new, and which of the others showed something."""
        place = keys >> self._beside
        new: Mask = self._keys[place] != keys
        return new, self._shows[place] & ~new

    def note(self, keys: Keys, shows: Mask) -> None:
        """Notes names, and which of them show something."""
        place = keys >> self._beside
        self._keys[place], self._shows[place] = keys, shows
