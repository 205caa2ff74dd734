"""What is not a key of any trail, said of many texts at once by their CRC-32.

A filter has two bits for each CRC-32, one by what it is modulo the size of the filter, one by what it is
times a constant. Most of what is looked for is not there: nine times in ten the first bit says so, and in all
but one case of fifty or more the second.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

BITS = 16
"""Bits of a filter for each key, at least; there are a power of two of them in all."""

# 2**32 divided by the golden ratio (Knuth, The Art of Computer Programming, 6.4): it spreads what is alike.
_FACTOR = 0x9E3779B1


class Filter:
    """The bits, eight to a byte, lowest first."""

    def __init__(self, bytes_: NDArray[np.uint8], owner: object = None) -> None:
        self.bytes = bytes_
        self._owner = owner  # what the memory of the bytes belongs to
        self._view = bytes_.data
        bits = len(bytes_) * 8
        self._mask = bits - 1
        self._shift = 33 - bits.bit_length()

    @classmethod
    def of(cls, keys: Collection[str]) -> Filter:
        """The filter of these keys."""
        bits = 1 << (8 + len(keys) * BITS).bit_length()
        found = cls(np.zeros(bits // 8, dtype=np.uint8))
        sums = np.fromiter((zlib.crc32(key.encode()) for key in keys), dtype=np.uint32)
        for chosen in (found._first(sums), found._second(sums)):
            in_byte = (chosen & np.uint32(7)).astype(np.uint8)
            np.bitwise_or.at(found.bytes, chosen >> np.uint32(3), np.uint8(1) << in_byte)
        return found

    def may_hold(self, sums: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """For the CRC-32 of each text, whether the text may be a key."""
        held = self._are_set(self._first(sums))
        some = np.flatnonzero(held)
        held[some] = self._are_set(self._second(sums[some]))
        return held

    def may_be(self, key: str) -> bool:
        """Whether one text may be a key."""
        crc, view = zlib.crc32(key.encode()), self._view
        bit = crc & self._mask
        if not view[bit >> 3] >> (bit & 7) & 1:
            return False
        bit = (crc * _FACTOR & 0xFFFFFFFF) >> self._shift
        return view[bit >> 3] >> (bit & 7) & 1 != 0

    def _first(self, sums: NDArray[np.uint32]) -> NDArray[np.uint32]:
        return sums & np.uint32(self._mask)

    def _second(self, sums: NDArray[np.uint32]) -> NDArray[np.uint32]:
        return sums * np.uint32(_FACTOR) >> np.uint32(self._shift)

    def _are_set(self, bits: NDArray[np.uint32]) -> NDArray[np.bool_]:
        in_byte = (bits & np.uint32(7)).astype(np.uint8)
        held: NDArray[np.bool_] = (self.bytes[bits >> np.uint32(3)] >> in_byte & np.uint8(1)).astype(bool)
        return held
