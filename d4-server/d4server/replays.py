"""Packets that came before, known by their HMAC. No I/O.

Each server process remembers its own: what came to another process, or before a restart, is not known.
"""

from __future__ import annotations

import time

MOST = 500_000
"""Packets that are remembered; about 70 MB."""


class Replays:
    """The packets of plain D4 that came in the last seconds, of all sensors."""

    def __init__(self) -> None:
        self._came: dict[bytes, float] = {}
        """HMAC to time (monotonic), the oldest first."""

    def came(self, hmac: bytes, window: float) -> bool:
        """Whether a packet came within ``window`` seconds before; from now on it has."""
        now = time.monotonic()
        while self._came:
            oldest = next(iter(self._came))
            if now - self._came[oldest] < window and len(self._came) < MOST:
                break
            del self._came[oldest]
        if hmac in self._came:
            return True
        self._came[hmac] = now
        return False
