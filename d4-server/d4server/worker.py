"""What serves connections in one process: all there is where a server has one worker, or one of several."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any

from prometheus_client import Metric
from redis.asyncio import Redis
from redis.exceptions import RedisError

from d4common import malloc, tls
from d4common.enrolling import ALPN_ENROLL
from d4common.service import cancel
from d4server import door
from d4server.config import D4, ServerConfig
from d4server.door import Door
from d4server.enrolment import Enrolment
from d4server.figures import Figures
from d4server.ingest import Ingest
from d4server.statistics import Statistics
from d4server.store import Store

log = logging.getLogger(__name__)

STATISTICS_INTERVAL = 10.0
MEMORY_INTERVAL = 3.0
"""Seconds."""

FIRST_LOOK_TIME = 2.0
"""Seconds that a start waits for Redis to say which types are accepted."""

LAST_WRITE_TIME = 5.0
"""Seconds that a stop waits for Redis to take the last statistics."""


class Worker:
    """Takes connections from the listening sockets, and stores what comes."""

    def __init__(self, redis: Redis, settings: ServerConfig, listening: list[socket.socket]) -> None:
        """Raises tls.TLSError."""
        d4 = settings.d4
        self._redis, self._days, self._listening = redis, d4.statistics_days, listening
        self._store = Store(redis, settings.redis.replicas)
        self._enrolment = Enrolment(redis, d4, settings.redis.replicas)
        others = {ALPN_ENROLL: self._enrolment.serve}
        self._ingest = Ingest(redis, self._store, d4.rules(), others, d4.client_certificates)
        self._ingest.limits, self._ingest.shared_secret = settings.limits, d4.secret()
        self._context = context(d4, self._ingest.alpn)
        self._figures = Figures(self._ingest, self._store, self._enrolment)
        self._doors: list[Door] = []
        self._at_once = door.AT_ONCE if d4.workers == 1 else door.FEW

    def works(self) -> list[Coroutine[Any, Any, None]]:
        """What goes on until the end."""
        return [
            self._store.run(),
            self._ingest.keep_alive(),
            self._ingest.check_keys(),
            self._ingest.check_blacklist(),
            self._ingest.check_types(),
            _write_statistics(self._ingest, self._redis, self._days),
            _give_back_memory(),
        ]

    async def open(self) -> None:
        """Begins to accept."""
        await _look_first(self._ingest)
        for each in self._listening:
            self._doors.append(await self._ingest.listen(each, self._context, self._at_once))

    async def families(self) -> Iterable[Metric]:
        """Its metrics."""
        return self._figures.collect()

    def reload(self, settings: ServerConfig) -> None:
        """What holds for connections to come: TLS, rules, enrolment. The rest needs a restart.

        Raises tls.TLSError.
        """
        d4 = settings.d4
        self._ingest.context = context(d4, self._ingest.alpn)
        self._ingest.certificates = d4.client_certificates
        self._ingest.types.configure(d4.rules())
        self._ingest.limits, self._ingest.shared_secret = settings.limits, d4.secret()
        self._enrolment.settings = d4

    async def close(self) -> None:
        """Stores and acknowledges what has come, and closes all connections."""
        for each in self._doors:
            each.close()
        await self._ingest.stop_reading()
        await self._store.flushed()
        await self._ingest.close()
        await _write_last_statistics(self._ingest.statistics, self._redis, self._days)


def context(d4: D4, alpn: Sequence[str] = ()) -> ssl.SSLContext:
    """TLS with these protocols to agree on. Raises tls.TLSError."""
    client_ca = d4.client_ca if d4.client_certificates else None
    return tls.server_context(d4.certificate, d4.key_file(), alpn, client_ca)


async def _look_first(ingest: Ingest) -> None:
    """Which types are accepted is known before the first connection, unless Redis is away."""
    await _done(ingest.types.renew(ingest.redis), FIRST_LOOK_TIME)  # the house says what is wrong with Redis


async def _write_statistics(ingest: Ingest, redis: Redis, days: int) -> None:
    """And looks, when Redis has them, who has sent as much as it may."""
    while True:
        await asyncio.sleep(STATISTICS_INTERVAL)
        with suppress(RedisError):  # they are kept; the house says that Redis does not work
            await ingest.statistics.write(redis, days)
            await ingest.check_caps()


async def _give_back_memory() -> None:
    """What a burst needed is free, but lies between what idle connections hold."""
    while True:
        await asyncio.sleep(MEMORY_INTERVAL)
        malloc.give_back()


async def _write_last_statistics(statistics: Statistics, redis: Redis, days: int) -> None:
    if not await _done(statistics.write(redis, days), LAST_WRITE_TIME):
        log.warning("Redis did not take the last statistics; they are lost")


async def _done(work: Coroutine[Any, Any, object], most: float) -> bool:
    """Does it for at most so many seconds; whether it was done. (Redis is asked: see service.cancel().)"""
    doing = asyncio.create_task(work)
    await asyncio.wait([doing], timeout=most)
    await cancel(doing)
    return not doing.cancelled() and doing.exception() is None
