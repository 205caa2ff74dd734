"""What the tests of records and of queues share: a client of the Redis at a Unix socket, and entries."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

from redis.asyncio import Redis

from d4common import records, redis_client
from d4common.queues import Delivery
from d4common.records import Entry

SENSORS = [UUID(f"ff7ba400-e76c-4053-982d-feec42bdef{last:02x}") for last in range(records.PARTITIONS)]
"""One for each partition."""
SENSOR = SENSORS[7]

NOW = 0.001
"""Seconds to wait for what is there already."""


@asynccontextmanager
async def redis_at(socket: Path) -> AsyncIterator[Redis]:
    redis = redis_client.connect(f"unix://{socket}")
    try:
        yield redis
    finally:
        await redis.connection_pool.disconnect()


def run(socket: Path, test: Callable[[Redis], Awaitable[None]]) -> None:
    """Runs a test with a client of the Redis at this socket."""

    async def with_redis() -> None:
        async with redis_at(socket) as redis:
            await asyncio.wait_for(test(redis), 20)

    asyncio.run(with_redis())


def entries(*texts: str, sensor: UUID = SENSOR, type: str = "maltrail") -> list[Entry]:
    return [Entry(sensor, type, time, text.encode()) for time, text in enumerate(texts)]


def texts(deliveries: list[Delivery]) -> str:
    return " ".join(delivery.entry.data.decode() for delivery in deliveries)


async def length(redis: Redis, type: str = "maltrail") -> int:
    return sum([await redis.xlen(key) for key in records.streams(type)])


def noise(size: int) -> str:
    """So many characters that no compression makes fewer."""
    return random.Random(size).randbytes(size // 2 + 1).hex()[:size]
