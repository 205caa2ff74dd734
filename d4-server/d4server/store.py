"""Entries of all connections, gathered while Redis is busy with the last batch, and appended as the next."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial

from prometheus_client import Histogram
from redis.asyncio import Redis

from d4common import journal, redis_client
from d4common.records import Batch, Entry, Numbered, Progress, Spool

log = logging.getLogger(__name__)

MAX_WAITING = 8 << 20
"""Bytes that wait for Redis before connections are no longer read."""

OVERHEAD = 500
"""Bytes of memory that an entry takes beside its data, about; many small ones are a load too."""

MAX_BATCH = 1 << 20
"""Bytes that go to Redis at once, about."""

GATHER = 0.01
"""Seconds from the beginning of a batch to that of the next, unless that is full before.

A batch costs by itself, at every disk and for every partition; what comes after a pause is stored at once.
"""

STOP_TIME = 10.0
"""Seconds that an orderly stop waits for Redis."""

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
BYTES = tuple(1 << power for power in range(10, 21))
"""Upper bounds of the histograms' buckets."""


class Store:
    """The one way into Redis for what sensors send."""

    def __init__(self, redis: Redis, replicas: int = 0) -> None:
        """What is stored is so once so many replicas of Redis have it too."""
        self.stored = 0
        """Entries that Redis has taken."""
        self.repeated = 0
        """Packets left out because they were stored already."""
        self.gaps = 0
        """Gaps in the numbers of spools."""
        self.seconds = Histogram(
            "d4_store_seconds", "Time that Redis took to store a batch.", buckets=SECONDS, registry=None
        )
        self.batches = Histogram("d4_store_batch_bytes", "Size of a batch.", buckets=BYTES, registry=None)
        self._redis = redis
        self._replicas = replicas
        self._asking: list[tuple[Numbered, Callable[[int], None]]] = []
        self._followers: dict[Spool, set[Callable[[int], None]]] = {}
        self._waiting: list[Entry | Numbered] = []
        self._size = 0
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._idle = asyncio.Event()
        self._room.set()
        self._idle.set()

    @property
    def waiting(self) -> int:
        """Bytes that wait for Redis, of memory that they take."""
        return self._size

    def follow(self, spool: Spool, number: int, hear: Callable[[int], None]) -> None:
        """Asks up to which number all of a spool is stored that was put before, and tells ``hear``.

        From then on it is told so with each batch that holds any of the spool. ``number`` is the first
        that is to come.
        """
        question = Numbered(spool, "", 0, number, ())
        self._asking.append((question, hear))
        self.put(question)

    def unfollow(self, spool: Spool, hear: Callable[[int], None]) -> None:
        """Ends what follow() began."""
        self._asking = [each for each in self._asking if each[1] != hear]
        followers = self._followers.get(spool, set())
        followers.discard(hear)
        if not followers:
            self._followers.pop(spool, None)

    def put(self, entry: Entry | Numbered) -> None:
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
        loop = asyncio.get_running_loop()
        while True:
            await self._filled.wait()
            began = loop.time()
            batch = self._take()
            append = partial(Batch(batch, self._replicas).append, self._redis)
            with self.seconds.time():
                progress = await redis_client.patiently("store", append)
            self._taken(batch, progress)
            if self._size < MAX_BATCH:
                await asyncio.sleep(began + GATHER - loop.time())

    async def flushed(self) -> None:
        """Returns when Redis has taken all, or has not in STOP_TIME seconds: then it says what is lost."""
        try:
            await asyncio.wait_for(self._idle.wait(), STOP_TIME)
        except TimeoutError:
            log.error("Redis did not take the last %d bytes in %.0f s; they are lost", self._size, STOP_TIME)

    def _take(self) -> list[Entry | Numbered]:
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

    def _taken(self, batch: Sequence[Entry | Numbered], progress: Sequence[Progress]) -> None:
        """Redis has this batch."""
        self.stored += sum(isinstance(entry, Entry) for entry in batch)
        self._begin_to_tell(batch)
        for each in progress:
            self._tell(each)
        size = sum(map(_size, batch))
        self.batches.observe(size)
        self._size -= size
        if self._size < MAX_WAITING:
            self._room.set()
        if not self._waiting:
            self._idle.set()

    def _begin_to_tell(self, batch: Sequence[Entry | Numbered]) -> None:
        """Those whose questions are in this batch are told from now on, and nothing of an earlier one."""
        if not self._asking:
            return
        here = set(map(id, batch))
        for question, hear in self._asking:
            if id(question) in here:
                self._followers.setdefault(question.spool, set()).add(hear)
        self._asking = [asking for asking in self._asking if id(asking[0]) not in here]

    def _tell(self, progress: Progress) -> None:
        """Counts, logs gaps, and tells whoever follows the spool."""
        self.stored += progress.entries
        self.repeated += progress.repeated
        for first, last in progress.gaps:
            self.gaps += 1
            _log_gap(progress.spool, first, last)
        for hear in tuple(self._followers.get(progress.spool, ())):
            hear(progress.stored)


def _log_gap(spool: Spool, first: int, last: int) -> None:
    sensor = str(spool.sensor)
    log.warning(
        "sensor %s left out packets %d to %d of its spool %s: it had no room to keep them, "
        "or Redis has lost what it knew of this spool",
        *(sensor, first, last, spool.id),
        extra={"MESSAGE_ID": journal.GAP, "D4_SENSOR": sensor},
    )


def _size(entry: Entry | Numbered) -> int:
    if isinstance(entry, Numbered):
        return sum(map(len, entry.payloads)) + OVERHEAD * max(1, len(entry.payloads))
    return len(entry.data) + OVERHEAD
