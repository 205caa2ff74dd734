"""Questions as DNS queries nearly always have them, one and not compressed, of many messages at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from d4sensor.dns import HEADER, IN, PTR
from d4sensor.headers import Positions, Window
from d4sensor.judges.dns_messages import Messages

LONGEST_LABEL = 44
"""Bytes of a label that is read here: one more is a hyphen, and longer labels could be read as characters."""

MOST_LABELS = 8
"""Labels of a name that is read here."""


class Questions(NamedTuple):
    """The first question of each message; all columns have the same length.

    ``start`` and ``end`` are where it is in the bytes of the batch, of no length where it is not as usual.
    ``labels`` is how many its name has, or 0 if it asks what no trail could answer: for the name of an
    address, or in another class.
    """

    start: Positions
    end: Positions
    labels: NDArray[np.intp]


def find(window: Window, messages: Messages) -> Questions:
    """The questions of messages."""
    start = messages.start + HEADER
    last = messages.end - 5
    at, labels = start.copy(), np.zeros(len(start), dtype=np.intp)
    open_ = np.flatnonzero(window.u16(messages.start + 4) == 1)
    ended = [open_[:0]]
    for _ in range(MOST_LABELS + 1):
        # What lies beyond the end of its message is neither a label nor the end of a name.
        open_ = open_[at[open_] <= last[open_]]
        length = window.u8(at[open_])
        ended.append(open_[length == 0])
        plain = (length != 0) & (length <= LONGEST_LABEL)
        open_ = open_[plain]
        if not len(open_):
            break
        at[open_] += length[plain].astype(np.intp) + 1
        labels[open_] += 1
    whole = np.concatenate(ended)
    end = start.copy()
    end[whole] = at[whole] + 5
    asks = np.zeros(len(start), dtype=bool)
    asks[whole] = (window.u16(end[whole] - 4) != PTR) & (window.u16(end[whole] - 2) & 0x7FFF == IN)
    labels[~asks] = 0
    return Questions(start, end, labels)


def name(question: bytes, labels: int) -> str:
    """The name, in lower case, of a question that ``find`` has found with that many labels.

    Empty if no trail could hold it for what it consists of: other characters than host names have.
    """
    text = question[1:-5].translate(_TEXT).decode("ascii")
    return text if text.count(".") == labels - 1 else ""


# Lengths are dots, capitals become small, and what no name of a host has a question mark.
_TEXT = bytes(
    ord(".")
    if 0 < byte <= LONGEST_LABEL
    else ord(character)
    if character in "-_" or character.isalnum()
    else ord("?")
    for byte, character in ((byte, chr(byte).lower() if byte < 128 else "?") for byte in range(256))
)
