"""How many requests an address may make. No I/O."""

from __future__ import annotations

import time

from d4common.origins import origin_of

RATE = 20.0
"""Requests in a second, for long."""

BURST = 300.0
"""Requests that may come at once."""

MOST_ADDRESSES = 10_000


class Throttle:
    """What each address has asked for lately (a leaky bucket); those of an IPv6 /64 count as one."""

    def __init__(self) -> None:
        self._paid: dict[str, float] = {}
        """Time (monotonic) at which all that an address asked for is within the rate, the latest last."""

    def take(self, address: str) -> float:
        """Takes a request; seconds to wait where it is one too many, which then does not count."""
        now, origin = time.monotonic(), origin_of(address)
        paid = max(self._paid.pop(origin, 0.0), now - BURST / RATE)
        wait = max(0.0, paid + 1 / RATE - now)
        self._paid[origin] = paid if wait else paid + 1 / RATE
        if len(self._paid) > MOST_ADDRESSES:
            del self._paid[next(iter(self._paid))]
        return wait
