"""What d4-sensor sends besides the events of its engine: a file per kind of source.

A source has ``run(intake)``, which reads and gives until the source has come to its end, and goes on for
ever where it has none. It is stopped by cancelling it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol


class SourceError(Exception):
    """A source cannot be read; the message says what is missing and what would be right."""


class Intake(Protocol):
    """Where a source gives its records: the side of an outbox that takes (d4sensor.outbox)."""

    @property
    def position(self) -> str | None:
        """Up to where the source was taken in by an earlier process; None if that was never said."""

    def put(self, record: bytes) -> None:
        """Takes a record at once."""

    async def put_all(self, records: Sequence[bytes], position: str | None = None) -> None:
        """Takes records when there is room for them, all or, where it is cancelled before, none.

        ``position`` is where their source is behind them, and is kept together with them.
        """


class Source(Protocol):
    """Something that can be read and sent."""

    async def run(self, intake: Intake) -> None:
        """Gives all that there is, and that comes. Raises SourceError."""


async def give(intake: Intake, records: Sequence[bytes]) -> None:
    """put_all() for what cannot be read again: it is put at once where a stop comes before there is room."""
    try:
        await intake.put_all(records)
    except asyncio.CancelledError:
        put(intake, records)
        raise


def put(intake: Intake, records: Sequence[bytes]) -> None:
    """Puts records at once."""
    for record in records:
        intake.put(record)


async def readable(descriptor: int) -> None:
    """Returns when a read of it does not block. The descriptor, which others may share, stays as it is."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(descriptor, ready.set)
    except OSError:
        await asyncio.sleep(0)  # a regular file, which epoll(7) refuses, and which never blocks
        return
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
