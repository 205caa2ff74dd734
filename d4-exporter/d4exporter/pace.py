"""No more records a second than the receiver of an unanswered protocol is believed to keep up with."""

from __future__ import annotations

import asyncio

SLACK = 0.01
"""Seconds that the records may be ahead of their time, so that not every one of them waits."""


class Pace:
    """Lets ``rate`` records a second through; 0 is without limit."""

    def __init__(self, rate: int) -> None:
        self._each = 1 / rate if rate else 0.0
        self._due = 0.0

    async def step(self) -> None:
        """Waits until the next record may go."""
        if not self._each:
            return
        now = asyncio.get_running_loop().time()
        self._due = max(self._due, now) + self._each
        if self._due - now > SLACK:
            await asyncio.sleep(self._due - now)
