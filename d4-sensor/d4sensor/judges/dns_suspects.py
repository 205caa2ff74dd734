"""Which of many names a trail may hold; those that are left out show nothing, whatever they are.

What is asked here is asked of all names at once; dns_names says the verdict on those few that are left.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from d4sensor.headers import Mask
from d4sensor.judges import dns_names, dns_patterns
from d4sensor.judges.dns_rows import Names, Suffixes, texts, translated
from d4sensor.trails import Trails


def find(names: Names, suffixes: Suffixes, trails: Trails) -> Mask:
    """Which names dns_names.of has to be asked about."""
    suspects = _texts(trails).may_be_in(names.rows)
    suspects[_listed(names, suffixes, trails)] = True
    first = suffixes.last - names.labels + 1
    suspects |= suffixes.start[first + 1] - 1 > dns_names.LONG_LABEL
    return suspects


def _listed(names: Names, suffixes: Suffixes, trails: Trails) -> list[int]:
    """The places of names of which a suffix is a trail.

    Each suffix that passes the filter is looked for once: ``com`` may pass it, and be in every name.
    """
    passed = np.flatnonzero(trails.filter.may_hold(suffixes.sum))
    places = suffixes.name[passed]
    starts = suffixes.start[passed].tolist()
    keys = [name[start:] for name, start in zip(texts(names.rows[places]), starts, strict=True)]
    listed = {key for key in set(keys) if trails.get(key)}
    return [place for place, key in zip(places.tolist(), keys, strict=True) if key in listed]


class Texts:
    """Texts that are looked for in rows of characters, by how they begin.

    Three characters in a row are a number. Where one is found with which a text begins, the text may be
    there; of a text of six characters or more the next three must be right too.
    """

    def __init__(self, texts: list[str]) -> None:
        """One of less than three characters may be anywhere, one with others than names have nowhere."""
        self._first = np.zeros(_BASE**3, dtype=np.uint8)
        self._next = np.full(_BASE**3, _SHORT, dtype=np.uint8)
        for text in texts:
            if not set(text) <= set(_CHARACTERS):
                continue
            if len(text) < 3:
                self._first[:] |= _SHORT
            elif len(text) < 6:
                self._first[_gram(text[:3])] |= _SHORT
            else:
                self._first[_gram(text[:3])] |= _LONG
                self._next[_gram(text[3:6])] |= _LONG

    def may_be_in(self, rows: NDArray[np.uint8]) -> Mask:
        """In which rows one of the texts may be."""
        width = int(np.count_nonzero(np.bitwise_or.reduce(rows, axis=0))) + 3
        digits = translated(rows[:, :width], _DIGIT).ravel().astype(np.uint16)
        grams = (digits[:-2] * _BASE + digits[1:-1]) * _BASE + digits[2:]
        first = self._first.take(grams)
        at = np.flatnonzero(first)
        at = at[first[at] & self._next.take(grams.take(at + 3, mode="clip")) != 0]
        may = np.zeros(len(rows), dtype=bool)
        may[at // width] = True
        return may


@lru_cache(maxsize=1)
def _texts(trails: Trails) -> Texts:
    """The texts without which neither a pattern nor a gateway is in a name."""
    return Texts([*dns_names.GATEWAYS, *dns_patterns.searches(trails).texts()])


# The characters of names, each a digit; zero is what is behind them. Any other character is like none.
_CHARACTERS = "-.0123456789_abcdefghijklmnopqrstuvwxyz"
_BASE = np.uint16(len(_CHARACTERS) + 1)
_DIGIT = bytes(1 + _CHARACTERS.find(chr(byte)) for byte in range(256))

# Two kinds of texts share the tables, a bit for each.
_SHORT, _LONG = 1, 2


def _gram(text: str) -> int:
    """Three characters as a number."""
    first, second, third = (_DIGIT[ord(character)] for character in text)
    base = int(_BASE)
    return (first * base + second) * base + third
