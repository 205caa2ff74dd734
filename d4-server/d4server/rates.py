"""How fast a sensor, or an address, may send. No I/O."""

from __future__ import annotations

import time

BURST = 1.0
"""Seconds' worth that may come at once."""


class Rate:
    """What one of them has sent, over all of its connections (a leaky bucket)."""

    def __init__(self) -> None:
        self._paid = 0.0
        """Time (monotonic) at which all that was taken so far is within the rate."""

    def take(self, size: int, rate: int) -> float:
        """Takes ``size`` bytes at ``rate`` bytes per second (0: any); seconds to wait before the next."""
        if not rate:
            return 0.0
        now = time.monotonic()
        self._paid = max(self._paid, now - BURST) + size / rate
        return max(0.0, self._paid - now)
