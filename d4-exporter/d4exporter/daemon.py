"""`d4-exporter run NAME`: read a batch from the queue, give it to the sink, acknowledge it."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import suppress
from functools import partial

from d4common import redis_client
from d4common.queues import Consumer, Delivery, QueueMissing
from d4common.service import Service, cancel
from d4exporter.config import ExporterConfig
from d4exporter.pace import Pace
from d4exporter.udp import SinkDown, UDPSink

log = logging.getLogger(__name__)

BATCH = 32
"""Entries of each partition that are taken at once. An entry holds the records of a whole packet."""

WAIT = 0.5
"""Seconds that a read waits for new entries, and with that how long a stop may take."""

STOP_TIME = 5.0
"""Seconds that a stop waits for the batch at hand; what was not acknowledged comes again."""

PAUSE = 1.0
"""Seconds before a sink that was down, or a queue that was missing, is tried again."""


async def run(name: str, settings: ExporterConfig, service: Service) -> None:
    """The daemon, for instance ``name``."""
    queue, destination = settings.queue, settings.sink.destination
    assert queue.type is not None and queue.queue is not None and destination is not None
    redis = redis_client.connect_or_end(settings.redis)
    # The same name after a restart: what this process had not acknowledged comes first then.
    consumer = Consumer(redis, queue.type, queue.queue, f"{socket.gethostname()}:{name}")
    newline = settings.sink.newline and not queue.is_chunks
    sink = UDPSink(destination, newline, Pace(settings.sink.max_rate))
    exporter = Exporter(consumer, sink, service, queue.is_chunks)
    service.ready(f"Exporting queue {queue.queue} ({queue.type}) to udp {destination}")
    async with asyncio.TaskGroup() as group:
        work = group.create_task(exporter.run())
        await service.stopping.wait()
        if exporter.busy:
            await asyncio.wait([work], timeout=STOP_TIME)
        await cancel(work)
    await consumer.close()
    sink.close()


class Exporter:
    """The loop between one queue and one sink."""

    def __init__(self, consumer: Consumer, sink: UDPSink, service: Service, chunks: bool) -> None:
        """``chunks``: whether the queue's records are not lines, but bytes as they came."""
        self.exported = 0
        """Records that the sink has taken."""
        self.busy = False
        """Whether a batch is at hand that is not acknowledged yet."""
        self._missing = False
        self._held = ""
        self._consumer = consumer
        self._sink = sink
        self._service = service
        self._chunks = chunks

    async def run(self) -> None:
        """Exports until the service is asked to stop."""
        while not self._service.stopping.is_set():
            try:
                batch = await redis_client.patiently("answer", partial(self._consumer.read, BATCH, WAIT))
            except QueueMissing as missing:
                await self._wait_for_queue(missing)
                continue
            self._missing = False
            self._say_whether_held()
            self.busy = bool(batch)
            if batch and await self._give(batch):
                acknowledge = partial(self._consumer.acknowledge, batch)
                await redis_client.patiently("take acknowledgements", acknowledge)
                self._service.status(f"{self.exported} records exported, {self._sink.too_long} too long")

    async def _give(self, batch: list[Delivery]) -> bool:
        """Offers a batch until the sink takes it. False: the service stops before."""
        records = [record for delivery in batch for record in delivery.records(self._chunks)]
        down = False
        while not self._service.stopping.is_set():
            try:
                await self._sink.take(records)
            except SinkDown as error:
                if not down:
                    log.warning("the sink takes nothing, trying again: %s", error)
                    self._service.status(f"The sink takes nothing: {error}")
                down = True
                await self._pause()
                continue
            if down:
                log.info("the sink takes records again")
            self.exported += len(records)
            return True
        return False

    def _say_whether_held(self) -> None:
        """Says when the queue begins to give out nothing, and when it gives again."""
        held = self._consumer.held
        if held == self._held:
            return
        self._held = held
        if held:
            log.info("the analyzer queue is %s", held)
            self._service.status(f"Nothing to do: the analyzer queue is {held}")
        else:
            log.info("the analyzer queue gives records again")
            self._service.status(f"{self.exported} records exported, {self._sink.too_long} too long")

    async def _wait_for_queue(self, missing: QueueMissing) -> None:
        """Says once that there is no such queue, which the server or an admin may yet make."""
        if not self._missing:
            log.warning("there is no analyzer queue %s yet, waiting for it", missing)
            self._service.status(f"Waiting for the analyzer queue {missing}")
        self._missing = True
        await self._pause()

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._service.stopping.wait(), PAUSE)
