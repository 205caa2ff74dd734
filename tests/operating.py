"""What administrators do, by the operations themselves, with a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from redis.asyncio import Redis

from d4common import redis_client
from d4server.config import D4, ServerConfig
from d4server.operations import Actor, Context, Role, perform

T = TypeVar("T")

SETTINGS = replace(ServerConfig(), d4=D4(metrics=None, certificate=Path("/nonexistent")))
"""Of a server that does not run."""


def with_redis(path: Path, work: Callable[[Redis], Awaitable[T]]) -> T:
    """The result of ``work`` with the Redis at a Unix socket."""

    async def connected() -> T:
        redis = redis_client.connect(f"unix://{path}")
        try:
            return await work(redis)
        finally:
            await redis_client.close(redis)

    return asyncio.run(connected())


def do(path: Path, operation: str, by: Role = Role.ADMIN, /, **values: Any) -> Any:
    """The result of an operation that somebody of a role asks for. Raises what perform() raises."""
    actor = Actor("somebody", by, "192.0.2.1", "session")
    return with_redis(path, lambda redis: perform(Context(redis, SETTINGS, actor), operation, values))
