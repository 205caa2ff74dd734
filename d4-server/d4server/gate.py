"""Who may come in, by address: asked before TLS, and before anything else is done for a stranger. No I/O.

An address is an IPv4 address, or a network /64 of IPv6, since that is what one host has there. All tables
are bounded by the number of connections, or by a constant.
"""

from __future__ import annotations

import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from d4common.origins import origin_of
from d4common.session import Reason, Refused
from d4server.blacklist import Blacklist
from d4server.config import Limits

MOST_STRANGERS = 2000
"""Connections at once that have not proved themselves: in the handshake, or before the first packet."""

PATIENCE = 5.0
"""Seconds after which one of them gives way to a newcomer when there are so many."""

WINDOW = 60.0
"""Seconds in which new connections of an address are counted."""

MOST_COUNTED = 100_000
"""Addresses for which that is done; where more come within the time, the counting begins again."""

OTHER_FILES = 200
"""Open files that a process needs for other things than connections of sensors."""


class Place:
    """What one connection takes up, from when it is accepted until it leaves."""

    def __init__(self, gate: Gate, origin: str) -> None:
        self.end: Callable[[], object] = lambda: None
        """Ends the connection, which then leaves."""
        self.since = time.monotonic()
        self.origin = origin
        self._gate = gate

    def prove(self) -> None:
        """The connection is not a stranger's any more."""
        self._gate.strangers.pop(self, None)

    def leave(self) -> None:
        """The connection is closed."""
        self._gate.strangers.pop(self, None)
        self._gate.places[self.origin] -= 1
        if not self._gate.places[self.origin]:
            del self._gate.places[self.origin]


class Gate:
    """The way in of one server process."""

    def __init__(self, blacklist: Blacklist) -> None:
        self.places: Counter[str] = Counter()
        """Connections that are open, by address."""
        self.strangers: dict[Place, None] = {}
        """Those that have not proved themselves, the oldest first."""
        self._blacklist = blacklist
        self._came: Counter[str] = Counter()
        self._window = time.monotonic()
        self._files = _most_files() - OTHER_FILES

    def enter(self, address: str, limits: Limits) -> Place:
        """A place for a connection from an address. Raises Refused."""
        network = self._blacklist.network_of(address)
        if network:
            raise Refused(Reason.BLACKLIST, f"{network} is on the blacklist")
        origin = origin_of(address)
        if self.places.total() >= min(limits.connections, self._files):
            raise Refused(
                Reason.CONNECTIONS,
                f"{self.places.total()} connections are open, as many as [limits] or LimitNOFILE= lets in",
            )
        if self.places[origin] >= limits.address_connections:
            raise Refused(
                Reason.ADDRESS_CONNECTIONS, f"{self.places[origin]} connections of this address are open"
            )
        self._make_room()
        self._count(origin, limits.address_rate)
        place = Place(self, origin)
        self.places[origin] += 1
        self.strangers[place] = None
        return place

    def _count(self, origin: str, most: int) -> None:
        """Counts who comes. Raises Refused where they are too many in this window."""
        now = time.monotonic()
        if now - self._window >= WINDOW or len(self._came) >= MOST_COUNTED:
            self._window = now
            self._came.clear()
        if self._came[origin] >= most:
            raise Refused(Reason.ADDRESS_RATE, f"{most} connections of this address came within a minute")
        self._came[origin] += 1

    def _make_room(self) -> None:
        """Ends the oldest stranger's connection where they are too many. Raises Refused where it is new too.

        A sensor takes some milliseconds to prove itself; who has taken seconds is none, or will come again.
        """
        if len(self.strangers) < MOST_STRANGERS:
            return
        oldest = next(iter(self.strangers))
        if time.monotonic() - oldest.since < PATIENCE:
            raise Refused(Reason.STRANGERS, f"{MOST_STRANGERS} connections have not proved themselves yet")
        oldest.prove()
        oldest.end()


def _most_files() -> int:
    """Files that this process may have open, after it has asked for as many as it can get (setrlimit(2))."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft
