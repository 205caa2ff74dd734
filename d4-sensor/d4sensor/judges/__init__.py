"""The judges: one per kind of evidence. Each looks at its candidates and says which trails they show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from d4sensor.flow import Flow
from d4sensor.sieve import Traffic
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


class Judge(Protocol):
    """One kind of evidence. It picks the packets that it wants from the traffic of a batch."""

    def judge(self, traffic: Traffic, counts: Counter[str]) -> Iterator[Finding]:
        """The findings in a batch. What cannot be read is counted in ``counts``; nothing is raised."""
        ...
