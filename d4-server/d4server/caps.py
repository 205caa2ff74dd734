"""How much a sensor may send in a day (of UTC), where an administrator has set a cap.

What counts are the bytes of payload that the statistics count, over all servers. A sensor that has sent as
much is refused until the day is over or its cap is raised; what it has sent stays, and what it keeps it sends
then. Servers look every ten seconds, so that what comes within these is stored too.

``d4:{sensors}:caps`` is a hash: UUID to bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from redis.asyncio import Redis

from d4common.session import Reason, Refused
from d4server import statistics
from d4server.sensors import CAPS

PIECE = 500
"""Sensors that are looked up at once, so that ten thousand hold up nobody."""


async def caps(redis: Redis) -> dict[UUID, int]:
    """The caps that are set, in bytes."""
    found = await redis.hgetall(CAPS)
    return {UUID(uuid.decode()): int(cap) for uuid, cap in found.items()}


async def cap_of(redis: Redis, sensor: UUID) -> int | None:
    """The cap of a sensor, in bytes; None where it has none."""
    found = await redis.hget(CAPS, str(sensor))
    return None if found is None else int(found)


async def set_cap(redis: Redis, sensor: UUID, bytes: int | None) -> None:
    """Sets a sensor's cap; None takes it away."""
    if bytes is None:
        await redis.hdel(CAPS, str(sensor))
    else:
        await redis.hset(CAPS, str(sensor), bytes)


class Caps:
    """Who has sent as much today as it may, as a server knows it."""

    def __init__(self) -> None:
        self._beyond: dict[UUID, Refused] = {}

    async def renew(self, redis: Redis, connected: Iterable[UUID]) -> None:
        """Looks at those who are connected, or were beyond their caps before. Raises what redis-py raises."""
        limits = await caps(redis)
        wanted = [*({*connected} | self._beyond.keys()) & limits.keys()]
        beyond = {}
        for first in range(0, len(wanted), PIECE):
            days = await statistics.today(redis, wanted[first : first + PIECE])
            for sensor, day in days.items():
                sent = sum(volume.bytes for volume in day.volumes.values())
                if sent >= limits[sensor]:
                    said = f"it has sent {sent} bytes today (UTC), and its cap is {limits[sensor]}"
                    beyond[sensor] = Refused(Reason.CAP, said)
        self._beyond = beyond

    def check(self, sensor: UUID) -> None:
        """Raises Refused where a sensor has sent as much as it may."""
        if refusal := self._beyond.get(sensor):
            raise Refused(refusal.reason, str(refusal))
