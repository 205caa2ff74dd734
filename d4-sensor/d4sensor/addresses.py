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


class Ranges(NamedTuple):
    """Ranges of numbers, sorted by their first.

    ``reach`` is the furthest end so far: a number is held if it is not beyond that of the last range that
    begins before it.
    """

    first: NDArray[np.unsignedinteger[Any]]
    reach: NDArray[np.unsignedinteger[Any]]

    def hold(self, numbers: NDArray[np.unsignedinteger[Any]]) -> NDArray[np.bool_]:
        """For each number, whether it is in a range."""
        if not len(self.first):
            return np.zeros(len(numbers), dtype=bool)
        before = np.searchsorted(self.first, numbers, side="right") - 1
        held: NDArray[np.bool_] = (before >= 0) & (numbers <= self.reach[before])
        return held


class Addresses:
    """A set of networks that arrays of addresses are tested against."""

    def __init__(
        self,
        four: Ranges,
        six: Ranges,
        bitmap: NDArray[np.uint8],
        prefixes: dict[int, list[int]],
        owner: object = None,
    ) -> None:
        self.four, self.six, self.bitmap = four, six, bitmap
        self.prefixes = prefixes
        """The prefixes of the networks in use, by the size of the address in bytes, the narrowest first."""
        self._owner = owner  # what the memory of the arrays belongs to

    @classmethod
    def of(cls, networks: Iterable[Network]) -> Addresses:
        """The set of these networks."""
        networks = set(networks)
        four: list[tuple[int, int]] = []
        six: list[tuple[int, int]] = []
        for address, prefix in networks:
            if len(address) == 4:
                first = int.from_bytes(address, "big")
                four.append((first, first | 0xFFFFFFFF >> prefix))
            else:
                first = int.from_bytes(address[:8], "big")
                six.append((first, first | 0xFFFFFFFFFFFFFFFF >> min(prefix, 64)))
        prefixes = {
            size: sorted({n.prefix for n in networks if len(n.address) == size} - {size * 8})[::-1]
            for size in (4, 16)
        }
        table = _table(four, np.uint32)
        return cls(_ranges(table), _ranges(_table(six, np.uint64)), _bitmap(table), prefixes)

    def hold4(self, addresses: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """For each IPv4 address, whether a network of this set holds it."""
        block = addresses >> np.uint32(8)
        bit = (block & np.uint32(7)).astype(np.uint8)
        bits = self.bitmap.take(block >> np.uint32(3)) >> bit & np.uint8(1)
        held: NDArray[np.bool_] = bits.view(np.bool_)
        near = np.flatnonzero(held)
        held[near] = self.four.hold(addresses[near])
        return held

    def hold6(self, upper: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """For the upper 64 bits of each IPv6 address, whether a network of this set may hold it."""
        return self.six.hold(upper)


def _table(
    ranges: list[tuple[int, int]], dtype: type[np.unsignedinteger[Any]]
) -> NDArray[np.unsignedinteger[Any]]:
    """First and last of each range, sorted, as the two columns of an array."""
    return np.array(sorted(set(ranges)), dtype=dtype).reshape(-1, 2)


def _ranges(table: NDArray[np.unsignedinteger[Any]]) -> Ranges:
    last = table[:, 1]
    return Ranges(np.ascontiguousarray(table[:, 0]), np.maximum.accumulate(last) if len(last) else last)


def _bitmap(table: NDArray[np.unsignedinteger[Any]]) -> NDArray[np.uint8]:
    """A bit for every /24 of IPv4, eight to a byte, lowest first: does any range touch it."""
    touched = np.zeros(1 << 24, dtype=bool)
    first, last = (table >> np.uint32(8)).T
    touched[first] = True
    for at in np.flatnonzero(last > first):
        touched[first[at] : int(last[at]) + 1] = True
    return np.packbits(touched, bitorder="little")
