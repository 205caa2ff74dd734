"""What commands do on this host: with Redis, and by the operations, as root."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from d4common import journal, service
from d4common.redis_url import RedisSection
from d4server.config import ServerConfig

if TYPE_CHECKING:
    from redis.asyncio import Redis

# What only commands need is imported where they run: systemd waits for one of them at every reload.

T = TypeVar("T")


def with_redis(where: RedisSection, work: Callable[[Redis], Awaitable[T]]) -> T:
    """The result of ``work`` with the Redis ``where``; ends the process where that cannot be."""
    from redis.exceptions import RedisError

    from d4common import redis_client
    from d4server.sensors import Refused

    async def connected() -> T:
        redis = redis_client.connect_or_end(where)
        try:
            return await work(redis)
        finally:
            await redis_client.close(redis)

    try:
        return asyncio.run(connected())
    except Refused as error:
        service.end(str(error))
    except (RedisError, OSError) as error:
        service.end(f"Redis at {where.url} does not answer: {redis_client.explain(error)}")


def operate_or_end(settings: ServerConfig, operation: str, **values: Any) -> Any:
    """The result of an operation; ends the process with what was against it. It is in the audit trail."""
    from d4server import audit
    from d4server.operations import Actor, Context, Failed, Role, perform

    journal.keep(audit.log, "d4-server")
    actor = Actor("root", Role.ADMIN, "local", "command")
    try:
        return with_redis(
            settings.redis, lambda redis: perform(Context(redis, settings, actor), operation, values)
        )
    except Failed as error:
        service.end(str(error))


def given(file: str, what: str) -> bytes:
    """The secret in a file, without the white space around it; - is standard input."""
    try:
        secret = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        service.end(f"{file} cannot be read: {error.strerror}")
    if not secret.strip():
        service.end(f"{file} holds no {what}")
    return secret.strip()
