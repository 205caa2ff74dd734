"""Entries of all connections, gathered while Redis is busy with the last batch, and appended as the next."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from redis.asyncio import Redis

from d4common import records
from d4common.records import Entry

log = logging.getLogger(__name__)

MAX_WAITING = 8 << 20
"""Bytes that wait for Redis before connections are no longer read."""

OVERHEAD = 500
"""Bytes of memory that an entry takes beside its data, about; many small ones are a load too."""

MAX_BATCH = 1 << 20
"""Bytes that go to Redis at once, about."""

STOP_TIME = 10.0
"""Seconds that an orderly stop waits for Redis."""


class Store:
    """The one way into Redis for what sensors send."""

    def __init__(self, redis: Redis) -> None:
        self.stored = 0
        """Entries that Redis has taken."""
        self._redis = redis
        self._waiting: list[Entry] = []
        self._size = 0
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._idle = asyncio.Event()
        self._room.set()
        self._idle.set()

    def put(self, entry: Entry) -> None:
        """Hands an entry over; await room() before the next read."""
        self._waiting.append(entry)
        self._size += _size(entry)
        self._filled.set()
        self._idle.clear()
        if self._size >= MAX_WAITING:
            self._room.clear()

    async def room(self) -> None:
        """Returns when so little waits that more may be read."""
        await self._room.wait()

    async def run(self) -> None:
        """Appends batch after batch, for as long as the server lives."""
        while True:
            await self._filled.wait()
            batch = self._take()
            await records.patiently("store", partial(records.append, self._redis, batch))
            self._taken(batch)

    async def flushed(self) -> None:
        """Returns when Redis has taken all, or has not in STOP_TIME seconds: then it says what is lost."""
        try:
            await asyncio.wait_for(self._idle.wait(), STOP_TIME)
        except TimeoutError:
            log.error("Redis did not take the last %d bytes in %.0f s; they are lost", self._size, STOP_TIME)

    def _take(self) -> list[Entry]:
        """The next batch of what waits."""
        size = number = 0
        for entry in self._waiting:
            size += _size(entry)
            number += 1
            if size >= MAX_BATCH:
                break
        batch, self._waiting = self._waiting[:number], self._waiting[number:]
        if not self._waiting:
            self._filled.clear()
        return batch

    def _taken(self, batch: list[Entry]) -> None:
        """Redis has this batch."""
        self.stored += len(batch)
        self._size -= sum(map(_size, batch))
        if self._size < MAX_WAITING:
            self._room.set()
        if not self._waiting:
            self._idle.set()


def _size(entry: Entry) -> int:
    return len(entry.data) + OVERHEAD
