"""No flood of the same event: the first few of a source and a trail, then one line that sums up the rest.

A window begins with the first sighting of a trail from a source. When it is over, what it held back becomes
one event: with the time of the last sighting, comma lists of ports, destinations and protocols as in
Maltrail's condensed lines, and behind the reference how many sightings it stands for: ``(static) (+57
sightings)``. The info and the trail stay as they are, for whoever filters by them. No I/O, and no clock:
the time is that of the packets, or what the caller says it is.
"""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter, OrderedDict
from collections.abc import Iterator

from d4common.event import Event

WINDOW = 60
"""Seconds from the first sighting until the rest is summed up."""

BURST = 3
"""Sightings of a window that are told one by one, where nothing else is asked for."""

MAX_BYTES = 8 << 20
"""Memory that windows may take together, about; where it is more, the oldest one ends early."""

MAX_SEEN = 20_000
"""Sightings of one second that are remembered, so as not to be told again."""

MAX_LISTED = 120
"""Ports, addresses and protocols that one line lists together; those beyond are in its count alone."""


class Throttle:
    """Lets events through, or holds them back until their window ends; none is lost.

    Counts in ``counts`` the ``repeats`` (the same trail in the same flow and second) and the sightings
    that were ``summed_up``.
    """

    def __init__(self, counts: Counter[str], burst: int = BURST) -> None:
        self._counts = counts
        self._burst = burst
        self._second = 0
        self._seen: set[int] = set()
        self._windows: OrderedDict[tuple[str, str], _Window] = OrderedDict()
        self._bytes = 0

    def admit(self, event: Event) -> Iterator[Event]:
        """What is to be told now that this happened: the event, a summary that is due, or nothing."""
        if self._is_repeat(event):
            self._counts["repeats"] += 1
            return
        key = (event.src_ip, event.trail)
        window = self._windows.get(key)
        if window and not window.covers(event.sec):
            yield from self._end(key)
            window = None
        if window is None:
            window = self._windows[key] = _Window(event)
            self._bytes += window.size
        window.sightings += 1
        if window.sightings <= self._burst:
            yield event
        else:
            self._counts["summed_up"] += 1
            self._bytes += window.hold(event)
        while self._bytes > MAX_BYTES:
            yield from self._end(next(iter(self._windows)))

    def due(self, now: int) -> Iterator[Event]:
        """The summaries of the windows that are over at ``now``, in seconds since the epoch."""
        while self._windows:
            key, window = next(iter(self._windows.items()))
            if window.covers(now):
                return
            yield from self._end(key)

    def flush(self) -> Iterator[Event]:
        """The summaries of all windows, which end here."""
        for key in list(self._windows):
            yield from self._end(key)

    def _is_repeat(self, event: Event) -> bool:
        if event.sec != self._second or len(self._seen) >= MAX_SEEN:
            self._seen.clear()
            self._second = event.sec
        # Its hash of 64 bits stands for it, since a trail may be long.
        flow = hash((event.src_ip, event.src_port, event.dst_ip, event.dst_port, event.proto, event.trail))
        if flow in self._seen:
            return True
        self._seen.add(flow)
        return False

    def _end(self, key: tuple[str, str]) -> Iterator[Event]:
        window = self._windows.pop(key)
        self._bytes -= window.size
        yield from window.summary(self._burst)


class _Window:
    """What became of the sightings of one trail from one source. ``size`` is its memory in bytes, about."""

    __slots__ = ("_last", "_listed", "_start", "sightings", "size")

    def __init__(self, first: Event) -> None:
        self.sightings = 0
        self.size: int = _WINDOW_SIZE + sys.getsizeof(first.trail)
        self._start = first.sec
        self._last: Event | None = None
        self._listed: set[tuple[str, str]] | None = None  # most need none, and an empty set is large

    def covers(self, sec: int) -> bool:
        """Whether a time is in the window; the clock of several interfaces may go back a little."""
        return abs(sec - self._start) < WINDOW

    def hold(self, event: Event) -> int:
        """Holds a sighting back, and says how many bytes more it takes than before."""
        before = self.size
        if self._listed is None:
            self._listed = set()
            self.size += _EVENT_SIZE + sys.getsizeof(event.trail)
        listed = len(self._listed)
        if listed < MAX_LISTED:
            self._listed.update((field, getattr(event, field)) for field in _VARYING)
            self.size += (len(self._listed) - listed) * _LISTED_SIZE
        self._last = event
        return self.size - before

    def summary(self, burst: int) -> Iterator[Event]:
        """The event that stands for all that was held back, if anything was; one alone stands for itself."""
        if self._last is None or self._listed is None:
            return
        held = self.sightings - burst
        if held == 1:
            yield self._last
            return
        lists = {
            field: _comma_list({value for name, value in self._listed if name == field}) for field in _VARYING
        }
        reference = f"{self._last.reference} (+{held} sightings)"
        yield dataclasses.replace(self._last, **lists, reference=reference)


# Bytes of a window without its trail, of a sighting that it holds, of each text that it lists; measured.
_WINDOW_SIZE, _EVENT_SIZE, _LISTED_SIZE = 350, 750, 150

_VARYING = ("src_port", "dst_ip", "dst_port", "proto")
"""What may differ between sightings of a trail from a source."""


def _comma_list(values: set[str]) -> str:
    """Values in order; the ``-`` of what has no port goes where there are ports."""
    return (
        ",".join(
            sorted(values - {"-"}, key=lambda value: (len(value), value) if value.isdigit() else (0, value))
        )
        or "-"
    )
