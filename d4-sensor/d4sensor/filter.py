"""What is not a key of any trail, said of many texts at once by their CRC-32.

A filter has a bit for each CRC-32 modulo its size. Most of what is looked for is not there, and the filter
says so in all but one case of twenty or more.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

BITS = 20
"""Bits of a filter for each key, at least; there are a power of two of them in all."""


class Filter:
    """The bits, eight to a byte, lowest first."""

    def __init__(self, bytes_: NDArray[np.uint8], owner: object = None) -> None:
        self.bytes = bytes_
        self._owner = owner  # what the memory of the bytes belongs to
        self._mask = np.uint32(len(bytes_) * 8 - 1)

    @classmethod
    def of(cls, keys: Collection[str]) -> Filter:
        """The filter of these keys."""
        bits = np.zeros(1 << (8 + len(keys) * BITS).bit_length(), dtype=bool)
        sums = np.fromiter((zlib.crc32(key.encode()) for key in keys), dtype=np.uint32)
        bits[sums & np.uint32(len(bits) - 1)] = True
        return cls(np.packbits(bits, bitorder="little"))

    def may_hold(self, sums: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """For the CRC-32 of each text, whether the text may be a key."""
        bit = sums & self._mask
        in_byte = (bit & np.uint32(7)).astype(np.uint8)
        held: NDArray[np.bool_] = (self.bytes[bit >> np.uint32(3)] >> in_byte & np.uint8(1)).astype(bool)
        return held
