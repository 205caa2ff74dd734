"""Names as rows of characters: for what is asked about many names at once."""

from __future__ import annotations

import re
import secrets
import zlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from d4sensor.headers import Mask, Positions

WIDTH = 64
"""Bytes of a row."""

LONGEST_LABEL = 44
"""Bytes of a label: one more is a hyphen, and longer labels could be read as characters."""

LONGEST = WIDTH - 4
"""Characters of a name that a row has room for: a few zeros remain, so that all can be read in threes."""

Rows = NDArray[np.uint8]
Keys = NDArray[np.uint64]


class Names(NamedTuple):
    """Names in lower case; both columns have the same length.

    ``rows`` has the characters of each, a dot before every label and zeros behind the last. ``labels`` is how
    many there are.
    """

    rows: Rows
    labels: Positions

    def where(self, chosen: Mask | Positions) -> Names:
        """Those that are chosen, by a mask or by their places in the columns."""
        return Names(self.rows[chosen], self.labels[chosen])

    def keys(self) -> Keys:
        """A number for each name, by which it is known; nobody outside can choose names that share one.

        That the upper half is the same for two names has a chance of 2**-32, whatever they are: a sum of
        numbers of 32 bits times random ones of 64 (multilinear hashing; Lemire and Kaser, 2014).
        """
        keys: Keys = self.rows.view("<u4").astype(np.uint64) @ _SECRET
        return keys


def names(questions: Rows, size: Positions, labels: Positions) -> Names:
    """The names with which questions begin, of so many bytes (RFC 1035, 3.1), the zero not counted.

    What no name of a host has becomes a question mark.
    """
    words = translated(questions, _CHARACTERS).view(np.uint64) & _WITHIN[size]
    return Names(words.view(np.uint8), labels)


def translated(rows: Rows, table: bytes) -> Rows:
    """Rows with what a table of 256 has for each byte. No index of NumPy's does this as fast."""
    return np.frombuffer(rows.tobytes().translate(table), dtype=np.uint8).reshape(rows.shape)


def of_hosts(names: Names) -> Mask:
    """Which consist of the characters that names of hosts have."""
    hosts: Mask = (names.rows != ord("?")).all(axis=1)
    return hosts


def texts(rows: Rows) -> list[str]:
    """The names in rows."""
    return [name[1:].decode("ascii") for name in rows.view(f"S{WIDTH}")[:, 0].tolist()]


class Suffixes(NamedTuple):
    """What names end with: from each of their labels on, name after name, the longest first.

    ``name`` is the place of the name among its own, ``start`` how many characters are before it,
    ``sum`` the CRC-32. ``last`` is where, in these columns, the top level of each name is.
    """

    name: Positions
    start: Positions
    sum: NDArray[np.uint32]
    last: Positions


def suffixes(names: Names) -> Suffixes:
    """The suffixes of names.

    A CRC-32 is linear: but for what the length alone adds, each character adds a number that depends on how
    far from the end it is, and they add up by exclusive or. So a suffix has the sum of all characters of all
    names up to its end without that of those up to its beginning.
    """
    flat = names.rows.ravel()
    places = np.flatnonzero(flat != 0)
    characters, name = flat[places], places // WIDTH
    ends = np.cumsum(np.bincount(name, minlength=len(names.rows)))
    rest = ends[name] - np.arange(len(places))
    added = np.bitwise_xor.accumulate(_SHARES[rest << 8 | characters])
    dots = np.flatnonzero(characters == ord("."))
    name = name[dots]
    sums = added[dots] ^ added[ends[name] - 1] ^ _OF_ZEROS[rest[dots] - 1]
    return Suffixes(name, places[dots] % WIDTH, sums, np.cumsum(names.labels) - 1)


def _shares() -> NDArray[np.uint32]:
    """For each distance from the end, the last byte's being 1, and each byte there, what it adds."""
    last = np.array([zlib.crc32(bytes([byte])) ^ zlib.crc32(b"\0") for byte in range(256)], dtype=np.uint32)
    shares = [np.zeros(256, dtype=np.uint32), last]
    while len(shares) <= WIDTH:
        # One more byte behind: a step of the usual way to work out the sum.
        shares.append(shares[-1] >> np.uint32(8) ^ last[shares[-1] & np.uint32(0xFF)])
    return np.concatenate(shares)


_SHARES = _shares()
_OF_ZEROS = np.array([zlib.crc32(bytes(size)) for size in range(WIDTH + 1)], dtype=np.uint32)

_SECRET = np.array([secrets.randbits(64) for _ in range(WIDTH // 4)], dtype=np.uint64)

# A row for each size: ones where the characters of a name of that size are.
_WITHIN = (np.tri(WIDTH + 1, WIDTH, -1, dtype=np.uint8) * np.uint8(0xFF)).view(np.uint64)

# Lengths of labels are dots, capitals become small, and what no name of a host has a question mark.
_CHARACTERS = bytes(
    ord(".")
    if 0 < byte <= LONGEST_LABEL
    else ord(chr(byte).lower())
    if re.fullmatch("[-_0-9a-zA-Z]", chr(byte))
    else ord("?")
    for byte in range(256)
)
