"""What is done once in a server, however many workers it has: Redis is kept in order and looked at."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Iterator
from typing import Any

from prometheus_client import Metric
from redis.asyncio import Redis
from redis.exceptions import RedisError

from d4common import queues, redis_client
from d4server import certificates, figures, types
from d4server.backlogs import Backlogs
from d4server.config import ServerConfig
from d4server.survey import Survey, survey

log = logging.getLogger(__name__)

FIRST_QUEUE = "maltrail"
"""The analyzer queue that exists from the start, and the meta type that it takes."""

HOUSEKEEPING_INTERVAL = 5.0

LOOK_INTERVAL = 15.0
"""Seconds between two looks at what lies in Redis, so that a scrape never waits for it."""


class House:
    """Drops what is beyond caps, frees what no queue needs, and knows how Redis and the certificate are."""

    def __init__(self, redis: Redis, settings: ServerConfig) -> None:
        self._redis = redis
        self._rules = settings.d4.rules()
        self._survey: Survey | None = None
        self._certificate = certificates.end_of(settings.d4.certificate)

    def works(self) -> list[Coroutine[Any, Any, None]]:
        """What goes on until the end."""
        return [self._keep(), self._look()]

    async def families(self) -> Iterable[Metric]:
        """Its metrics."""
        return self._families()

    def reload(self, settings: ServerConfig) -> None:
        """The certificate has been taken anew, and other types may be configured."""
        self._rules = settings.d4.rules()
        self._certificate = certificates.end_of(settings.d4.certificate)

    def _families(self) -> Iterator[Metric]:
        yield from figures.of_redis(self._survey)
        if self._certificate is not None:
            yield figures.of_certificate(self._certificate)

    async def _keep(self) -> None:
        """Makes the first queue, anew if Redis was emptied; drops and frees what queues need no more.

        While Redis is full, only the dropping and freeing work, and that is what makes room.
        """
        failing = False
        backlogs = Backlogs()
        while True:
            try:
                await backlogs.enforce(self._redis)
                for type in {*await self._types(), *(await queues.queues(self._redis)).values()}:
                    await queues.trim(self._redis, type)
                await backlogs.count(self._redis)
                await queues.create_first_queue(self._redis, FIRST_QUEUE, FIRST_QUEUE)
            except RedisError as error:
                if not failing:
                    log.error("Redis does not work, trying again: %s", redis_client.explain(error))
                failing = True
            else:
                if failing:
                    log.info("Redis works again")
                failing = False
            await asyncio.sleep(HOUSEKEEPING_INTERVAL)

    async def _look(self) -> None:
        """Looks at Redis again and again. While it does not answer, nothing is told of it but that."""
        while True:
            try:
                self._survey = await survey(self._redis, await self._types())
            except RedisError:
                self._survey = None
            await asyncio.sleep(LOOK_INTERVAL)

    async def _types(self) -> list[str]:
        """All types of which there may be streams, refused ones too: what was stored is not gone."""
        return [each.name for each in await types.known(self._redis, self._rules)]
