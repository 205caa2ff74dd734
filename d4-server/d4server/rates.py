"""How fast a sensor may send. No I/O."""

from __future__ import annotations

import time

BURST = 1.0
"""Seconds' worth that may come at once."""


class Rate:
    """What one sensor has sent, over all of its connections (a leaky bucket)."""

    def __init__(self) -> None:
        self._paid = 0.0
        """Time (monotonic) at which all that was taken so far is within the rate."""

    def take(self, size: int, rate: int) -> float:
        """Takes ``size`` bytes at ``rate`` bytes per second; seconds to wait before the next."""
        now = time.monotonic()
        self._paid = max(self._paid, now - BURST) + size / rate
        return max(0.0, self._paid - now)
