"""The addresses that trails name, as arrays: many packets are tested at once, and exactly.

Every entry is a range, so a network is no different from a single address. IPv4 addresses are tested
against a bitmap of all /24 networks first (2 MB); only those that pass are looked for among the ranges.
Of IPv6 addresses the first 64 bits are compared: whoever passes shares a /64 with an entry.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Network(NamedTuple):
    """An address range: ``address`` in 4 or 16 bytes of network order, ``prefix`` in bits."""

    address: bytes
    prefix: int


class Addresses:
    """A set of networks that arrays of addresses are tested against."""

    def __init__(self, networks: Iterable[Network]) -> None:
        four: list[tuple[int, int]] = []
        six: list[tuple[int, int]] = []
        for address, prefix in networks:
            if len(address) == 4:
                first = int.from_bytes(address, "big")
                four.append((first, first | 0xFFFFFFFF >> prefix))
            else:
                first = int.from_bytes(address[:8], "big")
                six.append((first, first | 0xFFFFFFFFFFFFFFFF >> min(prefix, 64)))
        self._four = _Ranges(four, np.uint32)
        self._six = _Ranges(six, np.uint64)
        self._bitmap = _bitmap(self._four)

    def hold4(self, addresses: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """For each IPv4 address, whether a network of this set holds it."""
        block = addresses >> np.uint32(8)
        bit = (block & np.uint32(7)).astype(np.uint8)
        held: NDArray[np.bool_] = ((self._bitmap[block >> np.uint32(3)] >> bit) & 1).astype(bool)
        near = np.flatnonzero(held)
        held[near] = self._four.hold(addresses[near])
        return held

    def hold6(self, upper: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """For the upper 64 bits of each IPv6 address, whether a network of this set may hold it."""
        return self._six.hold(upper)


class _Ranges:
    """Ranges of numbers, both ends included, sorted by their first."""

    def __init__(self, ranges: list[tuple[int, int]], dtype: type[np.unsignedinteger[Any]]) -> None:
        table = np.array(sorted(set(ranges)), dtype=dtype).reshape(-1, 2)
        self.first = np.ascontiguousarray(table[:, 0])
        self.last = np.ascontiguousarray(table[:, 1])
        # The furthest end so far: a number is held if it is not beyond that of the ranges before it.
        self._reach = np.maximum.accumulate(self.last) if len(table) else self.last

    def hold(self, numbers: NDArray[np.unsignedinteger[Any]]) -> NDArray[np.bool_]:
        if not len(self.first):
            return np.zeros(len(numbers), dtype=bool)
        before = np.searchsorted(self.first, numbers, side="right") - 1
        held: NDArray[np.bool_] = (before >= 0) & (numbers <= self._reach[before])
        return held


def _bitmap(ranges: _Ranges) -> NDArray[np.uint8]:
    """A bit for every /24 of IPv4, eight to a byte, lowest first: does any range touch it."""
    touched = np.zeros(1 << 24, dtype=bool)
    first, last = ranges.first >> np.uint32(8), ranges.last >> np.uint32(8)
    touched[first] = True
    for at in np.flatnonzero(last > first):
        touched[first[at] : int(last[at]) + 1] = True
    return np.packbits(touched, bitorder="little")
