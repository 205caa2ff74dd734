"""Logging: structured to the journal under systemd, plain lines on standard error elsewhere.

Fields ride along as ``extra``: ``log.warning("…", extra={"D4_SENSOR": uuid})``. Their names are D4_SENSOR
(UUID), D4_TYPE (D4 type or meta type), D4_QUEUE, D4_ADDRESS (of a peer), D4_REASON (of a refusal), and of
the administration D4_USER and D4_ACTION.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Hashable
from uuid import UUID

from systemd.journal import JournalHandler

# What an admin may want to match (journalctl MESSAGE_ID=…), one identity per kind of message.
REFUSED = UUID("6f1c2c7b1d1f4f3c9d0a2b8e5d7a4c11")
"""A server closed a connection; D4_REASON, D4_SENSOR, D4_ADDRESS say whose and why."""

CLOCK = UUID("c1f7e09b6a4d4b73a82e5d3f90b1647e")
"""A server took packets from a sensor (D4_SENSOR, D4_ADDRESS) whose time is off by much."""

ENROLMENT = UUID("3a8b1f60d2c94e57a6f0c7d89b14e2a5")
"""A sensor (D4_SENSOR, D4_ADDRESS) waits for an administrator's approval, was let in, or got another key."""

GAP = UUID("9d4e0c5b7a1246f8b3c85f0e21d7a694")
"""A server misses packets of a sensor's spool (D4_SENSOR) that will not come any more."""

SPOOL_DAMAGED = UUID("c1f0a4d26b0e4d8f9a3be7d5402c8e61")
"""A sensor's spool was damaged: it was set aside, and what could be read put into a new one."""

SPOOL_DROPPED = UUID("5e2b8f7a90c34a6db1d84c0f7e63a9d2")
"""A sensor gave up its oldest events, for which it had no room any more."""

SPOOL_BLOCKED = UUID("a87d3c19e5f24b0c8d6290b4f1e7c35a")
"""A sensor's disk does not take events, or takes them again."""

QUEUE_DROPPED = UUID("4c1d7e82f0a34b9c9e6b2d5a8f03c176")
"""A server dropped the oldest entries of an analyzer queue (D4_QUEUE), which was beyond its cap."""

SENSOR_SILENT = UUID("d2a94f6e1b7c4835b0e83c5f7a1d6920")
"""A sensor (D4_SENSOR) was not heard for longer than its limit (D4_REASON=silent), or is again (=back)."""

FIRST_PASSWORD = UUID("0b7f6a3c52d84d2c8f6e1a9c4e3b7d22")
"""A daemon made the first password of its web page."""

AUDIT = UUID("e4b0c6d7a2f84c1b95d3706e8f1a2c49")
"""A user of the administration (D4_USER) did something (D4_ACTION), or was refused; D4_REASON says which."""


def start(name: str) -> None:
    """Sends all log records of this process where they belong; ``name`` is the daemon's."""
    handler: logging.Handler
    if _stderr_is_journal():
        handler = _journal(name)
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter(f"{name}: %(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def keep(logger: logging.Logger, name: str) -> None:
    """Sends what one logger says to the journal and nowhere else, also where a command is used by hand."""
    logger.handlers = [_journal(name)]
    logger.propagate = False


def _journal(name: str) -> logging.Handler:
    handler: logging.Handler = JournalHandler(SYSLOG_IDENTIFIER=name)
    handler.setFormatter(logging.Formatter("%(message)s"))
    return handler


def _stderr_is_journal() -> bool:
    """Whether systemd connected standard error to the journal (systemd.exec(5), $JOURNAL_STREAM)."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        stat = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(stat.st_dev), str(stat.st_ino))


class Repeats:
    """Lets a message about the same thing through once a minute, and counts those that it held back.

    It remembers at most ``most`` things, so that strangers cannot make it grow.
    """

    WINDOW = 60.0

    def __init__(self, most: int = 1000) -> None:
        self._most = most
        self._seen: dict[Hashable, tuple[float, int]] = {}

    def held_back(self, thing: Hashable) -> int | None:
        """None: say nothing. Otherwise say it; the number is how often it was held back before."""
        now = time.monotonic()
        since, count = self._seen.get(thing, (None, 0))
        if since is not None and now - since < self.WINDOW:
            self._seen[thing] = (since, count + 1)
            return None
        self._seen.pop(thing, None)
        if len(self._seen) >= self._most:
            del self._seen[next(iter(self._seen))]
        self._seen[thing] = (now, 0)
        return count
