"""Questions as DNS queries nearly always have them, one, plain and short, of many messages at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from d4sensor.dns import HEADER, IN, PTR
from d4sensor.headers import Mask, Positions, Window, word
from d4sensor.judges import dns_rows
from d4sensor.judges.dns_messages import Messages
from d4sensor.judges.dns_rows import LONGEST, LONGEST_LABEL, WIDTH, Names


class Questions(NamedTuple):
    """The questions of messages; both columns have the same length.

    ``unread`` are those that are not as usual. Their ``names`` have no labels, nor have those of questions
    that no trail could answer: for the name of an address, or in another class.
    """

    unread: Mask
    names: Names


def find(window: Window, messages: Messages) -> Questions:
    """The questions of messages."""
    start = messages.start + HEADER
    rows = window.rows(start, WIDTH)
    size = (rows == 0).argmax(axis=1)
    labels = _labels(rows, size)
    read = (labels > 0) & (size <= LONGEST + 1) & (window.u16(messages.start + 4) == 1)
    end = start + size + 1
    read &= end + 4 <= messages.end
    kind = window.rows(np.where(read, end, start), 4)
    asks = read & (word(kind, 0) != PTR) & (word(kind, 2) & 0x7FFF == IN)
    return Questions(~read, dns_rows.names(rows, size, labels * asks))


def _labels(rows: NDArray[np.uint8], size: Positions) -> Positions:
    """How many labels of usual length each row has before a zero; 0 if anything else is there.

    Whatever byte is as small as a length must be one, from the first to the zero behind the last label.
    """
    at = np.flatnonzero((rows <= LONGEST_LABEL) & _UP_TO.take(size, axis=0))
    length = rows.ravel()[at]
    labels = np.bincount(at // WIDTH, minlength=len(rows)) - 1
    wrong = (length[:-1] != 0) & (at[:-1] + length[:-1] + 1 != at[1:])
    labels[at[:-1][wrong] // WIDTH] = 0
    labels[rows[:, 0] > LONGEST_LABEL] = 0
    return labels


# A row for each place: where the bytes up to it are, and it itself.
_UP_TO = np.tri(WIDTH, dtype=bool)
