"""A client of Redis, wherever it is; and how to go on while it is away."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from redis.asyncio import Redis, UnixDomainSocketConnection
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import RedisError

from d4common import redis_url, service
from d4common.command import BROKEN_CONFIG
from d4common.config import ConfigError
from d4common.redis_cluster import Cluster, change, said
from d4common.redis_url import RedisSection, RedisURL

log = logging.getLogger(__name__)

T = TypeVar("T")

TIMEOUTS = {"socket_connect_timeout": 5, "socket_timeout": 30}
"""Seconds. No command waits for longer than that on purpose."""

TLS = {"ssl": True, "ssl_check_hostname": True}

SENTINEL_OPTIONS: dict[str, Any] = {"socket_connect_timeout": 2, "socket_timeout": 2, "retry": None}
"""Seconds after which the next Sentinel is asked."""


def connect(url: RedisURL | str, password: str | None = None) -> Redis:
    """A client for ``url``, with its password if that is not in it. It connects when used.

    It does nothing a second time by itself, since it cannot know whether the first time did it: ``retry``
    is for the redis-py that otherwise would.
    """
    url = redis_url.parse(url) if isinstance(url, str) else url
    own = url.password if password is None else password
    options: dict[str, Any] = {"username": url.user, "password": own, "retry": None, **TIMEOUTS}
    if url.tls:
        options |= TLS
    if url.scheme == "redis+cluster":
        return Cluster(url.endpoints, options)
    if url.scheme == "redis+sentinel":
        return _master(url, options)
    if url.scheme == "unix":
        redis = Redis(unix_socket_path=url.path, db=url.db, **options)
        redis.connection_pool.connection_class = _UnixConnection
        return redis
    return Redis(host=url.endpoints[0].host, port=url.endpoints[0].port, db=url.db, **options)


def connect_or_end(where: RedisSection) -> Redis:
    """connect() to what is configured; ends the process where its password cannot be read."""
    try:
        return connect(where.url, where.password())
    except ConfigError as error:
        service.end(str(error), BROKEN_CONFIG)


def _master(url: RedisURL, options: dict[str, Any]) -> Redis:
    """The master of which the Sentinels say that it is one now. They themselves need no password."""
    sentinels = [(each.host, each.port) for each in url.endpoints]
    asking = SENTINEL_OPTIONS | (TLS if url.tls else {})
    sentinel = Sentinel(sentinels, sentinel_kwargs=asking)
    return sentinel.master_for(url.master, db=url.db, **options)


class _UnixConnection(UnixDomainSocketConnection):  # type: ignore[misc]
    # redis-py 4.3 names them in the error of a connection that breaks, although a Unix socket has neither.
    host, port = "unix", 0


async def close(redis: Redis) -> None:
    """Closes a client's connections. (redis-py's own close() has another name since 5.0.1.)"""
    if isinstance(redis, Cluster):
        await redis.disconnect()
        return
    await redis.connection_pool.disconnect()
    manager = getattr(redis.connection_pool, "sentinel_manager", None)
    for sentinel in manager.sentinels if manager else ():
        await sentinel.connection_pool.disconnect()


async def patiently(what: str, operation: Callable[[], Awaitable[T]]) -> T:
    """Does a Redis operation again, a second later, until Redis takes it; says when that begins and ends.

    For what must not be lost while Redis is away, is loading its data, or is full.
    """
    waiting = False
    while True:
        try:
            result = await operation()
        except RedisError as error:
            if not waiting:
                log.error("Redis does not %s, trying again: %s", what, explain(error))
            waiting = True
            await asyncio.sleep(1)
            continue
        if waiting:
            log.info("Redis is back")
        return result


def explain(error: RedisError) -> str:
    """What Redis had against it: without the command that redis-py puts in front, which holds data."""
    text, changing = said(error), change(error)
    if isinstance(error.__context__, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.__context__.verify_message}"
    if changing:
        return f"its nodes change their parts ({changing})"
    if "OutOfMemory" in type(error).__name__ or text.startswith("OOM "):
        return "it holds as much as its maxmemory lets it"
    return type(error).__name__ if "exception.args" in text or not text else text
