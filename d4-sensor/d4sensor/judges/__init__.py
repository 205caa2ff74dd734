"""The judges: one per kind of evidence. Each looks at its candidates and says which trails they show."""

from __future__ import annotations

from typing import NamedTuple

from d4sensor.flow import Flow
from d4sensor.trails import Trail


class Verdict(NamedTuple):
    """A trail that a packet shows: the type and text an event gives it, and what is known about it."""

    type: str
    text: str
    trail: Trail


class Finding(NamedTuple):
    """A verdict on the packet of that number in its batch."""

    packet: int
    flow: Flow
    verdict: Verdict
