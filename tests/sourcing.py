"""Sources of d4-sensor, read into a real spool."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from waiting import until

from d4common.service import cancel
from d4sensor.outbox import SpoolOutbox
from d4sensor.salvage import open_spool
from d4sensor.source import Source
from d4sensor.source.kinds import packing
from d4sensor.source_config import Source as Settings


def outbox(path: Path, type: int = 3, most_bytes: int = 1 << 30) -> SpoolOutbox:
    """An outbox, not yet open, of a source of this type, whose spool is at ``path``."""
    pack = packing(Settings("stdin", type))
    return SpoolOutbox(partial(open_spool, path, type, None, most_bytes, 1 << 40), 4096, pack)


def stored(path: Path, type: int = 3) -> bytes:
    """All payloads of a spool, one behind the other. Nobody may have it open."""
    spool = open_spool(path, type, None, 1 << 40, 1 << 40)
    try:
        return b"".join(packet.payload for packet in spool.read(0, 1 << 40))
    finally:
        spool.close()


@asynccontextmanager
async def running(source: Source, waiting: SpoolOutbox) -> AsyncIterator[asyncio.Task[None]]:
    """The source gives to the outbox, which is opened and closed; it is stopped at the end."""
    await waiting.open()
    task = asyncio.create_task(source.run(waiting))
    try:
        yield task
    finally:
        await cancel(task)
        await waiting.close()
        if not task.cancelled():
            task.result()


def read(source: Source, path: Path, condition: Callable[[bytes], object], type: int = 3) -> bytes:
    """Runs a source until ``condition`` holds of what the spool has; what it has at the end."""

    async def run() -> None:
        waiting = outbox(path, type)
        async with running(source, waiting) as task:
            await until(partial(_holds, waiting, task, condition))

    asyncio.run(run())
    return stored(path, type)


def _holds(waiting: SpoolOutbox, task: asyncio.Task[None], condition: Callable[[bytes], object]) -> bool:
    return task.done() or bool(condition(taken(waiting)))


def taken(waiting: SpoolOutbox) -> bytes:
    """What an open outbox has on its disk, and keeps in memory as well."""
    return b"".join(packet.payload for packet in waiting._tail)


class Given:
    """An intake that keeps what it gets, for a source whose way to the spool does not matter."""

    def __init__(self, position: str | None = None) -> None:
        self.records: list[bytes] = []
        self.position = position
        self.room = asyncio.Event()
        self.room.set()

    def put(self, record: bytes) -> None:
        self.records.append(record)

    async def put_all(self, records: Sequence[bytes], position: str | None = None) -> None:
        await self.room.wait()
        self.records += records
        self.position = position if position is not None else self.position
