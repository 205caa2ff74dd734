"""One source, to the server: read, kept, sent, until it has come to its end or is to stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from d4common.delivery import first
from d4common.outbox import MemoryOutbox
from d4common.sender import Sender
from d4common.service import Service
from d4sensor import ship
from d4sensor.config import D4
from d4sensor.config import Spool as SpoolSettings
from d4sensor.outbox import SpoolOutbox
from d4sensor.source import Source, SourceError, kinds
from d4sensor.source_config import Source as Settings

log = logging.getLogger(__name__)

STATUS_INTERVAL = 5.0

AHEAD = 4 << 20
"""Bytes that are taken from a source without a spool before the server must have them."""

MOST_IN_MEMORY = 64 << 20
"""Bytes that wait without a spool where the source cannot be made to wait."""


class NotSent(Exception):
    """A stop has come before the server had everything; the message says how much it had not."""


@dataclass(frozen=True)
class Job:
    """What is to be sent, where to, and by whom. A source that has a ``name`` has a spool.

    Without one, what waits is lost with the process.
    """

    source: Settings
    d4: D4
    sender: Sender
    spool: SpoolSettings = SpoolSettings()
    name: str | None = None


class InMemory(MemoryOutbox):
    """An outbox without a disk, to be used as SpoolOutbox is."""

    position = None
    trouble = ""

    def __init__(self, snaplen: int) -> None:
        super().__init__(MOST_IN_MEMORY, snaplen)
        self._taken = 0
        """Bytes since the server had everything."""

    def __len__(self) -> int:
        """Packets that wait: what is no lines has no records that could be counted again."""
        return self.next - self.first

    async def put_all(self, records: Sequence[bytes], position: str | None = None) -> None:
        """Takes records once there is room for them."""
        if self._taken > AHEAD:
            await self.empty()
            self._taken = 0
        for record in records:
            self.put(record)
            self._taken += len(record)

    async def open(self) -> None:
        """There is nothing to open,"""

    async def committed(self) -> None:
        """nothing to write,"""

    async def close(self) -> None:
        """and nothing to close."""


Outbox = SpoolOutbox | InMemory


async def run(job: Job, service: Service) -> None:
    """Sends until all is sent, or a stop comes. Raises SourceError, SpoolError and NotSent."""
    servers = [*job.d4.destination, *([job.d4.proxy.endpoint] if job.d4.proxy else [])]
    source = kinds.make(job.source, servers, job.name)
    outbox = _outbox(job)
    await first(outbox.open(), _stopped(service))
    if service.stopping.is_set():
        return
    status = Status(outbox, service)
    sender = replace(job.sender, preamble=partial(kinds.preamble, job.source, outbox))
    client = ship.client(job.d4, sender, outbox, status.set_connection)
    shipping = asyncio.create_task(ship.deliver(client, outbox))
    try:
        service.ready(f"Sending {job.source} as type {job.source.data_type}")
        await first(_send(source, outbox), _stopped(service), _ended(shipping), status.keep())
    finally:
        await ship.finish(client, outbox, shipping)
    waiting = outbox.next - outbox.first
    if waiting and job.name and job.source.kind != "stdin":
        log.info("%d packets wait in the spool for the next start", waiting)
    elif waiting:
        raise NotSent(f"{waiting} packets were not sent{', and wait in the spool' if job.name else ''}")


class Status:
    """The line that `systemctl status` shows."""

    def __init__(self, outbox: Outbox, service: Service) -> None:
        self._outbox = outbox
        self._service = service
        self._connection = "not connected yet"

    def set_connection(self, state: str) -> None:
        """Hears what became of the connection to the server."""
        self._connection = state
        self._tell()

    async def keep(self) -> None:
        """Keeps it fresh."""
        while True:
            await asyncio.sleep(STATUS_INTERVAL)
            self._tell()

    def _tell(self) -> None:
        waiting = f"{len(self._outbox)} records waiting, {self._outbox.dropped} discarded"
        self._service.status("; ".join(filter(None, (waiting, self._outbox.trouble, self._connection))))


async def _send(source: Source, outbox: Outbox) -> None:
    """Reads the source to its end, and waits until the server has all of it, as long as that takes."""
    try:
        await source.run(outbox)
    except OSError as error:
        raise SourceError(f"the source cannot be read: {error}") from error
    except ExceptionGroup as errors:  # of a source that reads several things at the same time
        raise errors.exceptions[0] from None
    await outbox.empty()


async def _stopped(service: Service) -> None:
    await service.stopping.wait()


async def _ended(shipping: asyncio.Task[None]) -> None:
    """Raises what ended the client."""
    await asyncio.shield(shipping)


def _outbox(job: Job) -> Outbox:
    if job.name is None:
        return InMemory(job.source.snaplen)
    path = job.spool.path / job.name / "source.db"  # it may write to this directory alone
    return ship.outbox(path, job.spool, job.sender, job.source.snaplen, kinds.packing(job.source))
