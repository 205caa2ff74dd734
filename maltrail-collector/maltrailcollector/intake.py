"""From the socket to the log: takes datagrams in batches, checks each, appends what is accepted."""

from __future__ import annotations

import logging
import socket
import struct
import time
from collections import Counter

from d4common.config import Endpoint
from d4common.event import MAX_LINE
from d4common.journal import Repeats
from maltrailcollector.check import Reason, Refused, check
from maltrailcollector.daylog import DayLog, day_of

log = logging.getLogger(__name__)

BATCH = 1000
"""Datagrams that are taken in one go, some 5 ms of work, before anybody else has a turn."""

MAX_AHEAD = 86400
"""Seconds that an event may be ahead of this machine's clock."""

RECEIVE_BUFFER = 8 << 20
"""Bytes of receive buffer to ask for, as Maltrail's server does; the kernel gives no more than rmem_max."""

SO_MEMINFO, MEMINFO_DROPS = 55, 8
"""socket(7), linux/sock_diag.h: nine 32-bit numbers about a socket; the last counts what it dropped."""


def bind(endpoint: Endpoint) -> socket.socket:
    """A UDP socket to receive on, for when systemd holds none. Raises OSError."""
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_DGRAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    bound.setblocking(False)
    bound.bind((endpoint.host, endpoint.port))
    return bound


class Intake:
    """Counts what it stored and, by reason, what it refused. ``max_age`` is in seconds."""

    def __init__(self, daylog: DayLog, max_age: float) -> None:
        self.max_age = max_age
        self.stored = 0
        self.refused: Counter[Reason] = Counter()
        self._daylog = daylog
        self._samples = Repeats()

    def take(self, udp: socket.socket) -> int:
        """Takes what waits in a socket, BATCH at most, and says how many that were."""
        now = int(time.time())
        earliest, latest = now - int(self.max_age), now + MAX_AHEAD
        batch: dict[str, list[bytes]] = {}
        taken = 0
        try:
            while taken < BATCH:
                datagram, sender = udp.recvfrom(MAX_LINE + 1)
                taken += 1
                try:
                    sec, line = check(datagram, earliest, latest)
                except Refused as refused:
                    self._count(refused, datagram, sender[0])
                    continue
                day = day_of(sec)
                if day in batch:
                    batch[day].append(line)
                else:
                    batch[day] = [line]
        except BlockingIOError:
            pass
        for day, lines in batch.items():
            if self._daylog.append(day, lines):
                self.stored += len(lines)
        return taken

    def _count(self, refused: Refused, datagram: bytes, sender: str) -> None:
        self.refused[refused.reason] += 1
        before = self._samples.held_back(refused.reason)
        if before is None:
            return
        more = f", and {before} more for the same reason since the last such line" if before else ""
        log.warning(
            "refused a datagram from %s (%s): %s: %.200r%s",
            *(sender, refused.reason, refused, datagram, more),
            extra={"D4_REASON": str(refused.reason), "D4_ADDRESS": sender},
        )


def kernel_drops(udp: socket.socket) -> int:
    """Datagrams that the kernel dropped because the socket's buffer was full."""
    numbers = udp.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 4 * (MEMINFO_DROPS + 1))
    return int(struct.unpack("=9I", numbers)[MEMINFO_DROPS])
