"""`d4-sensor replay`: capture files through the engine, events to standard output or to the server."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress

from d4common.event import Event
from d4common.service import Service
from d4sensor import capture, ship
from d4sensor.capture import CaptureError
from d4sensor.config import SensorConfig
from d4sensor.engine import Engine

log = logging.getLogger(__name__)


def events(engine: Engine, files: Iterable[str], wallclock: bool) -> Iterator[list[Event]]:
    """The events in capture files, in order, batch by batch. Raises CaptureError.

    With ``wallclock`` they happen now; otherwise when the packets were captured.
    """
    for path in files:
        source = capture.open_file(path)
        try:
            while (batch := source.read()) is not None:
                found = engine.judge(batch)
                yield list(map(_now, found)) if wallclock else found
        finally:
            source.close()


def show(found: Iterable[list[Event]]) -> None:
    """Prints events as Maltrail's log has them."""
    for batch in found:
        sys.stdout.writelines(event.line() + "\n" for event in batch)
    sys.stdout.flush()


async def send(found: Iterable[list[Event]], settings: SensorConfig, service: Service) -> None:
    """Sends events to the server, however long it takes to reach it; a signal ends that early.

    Raises CaptureError where a file could not be read to its end, once what it held before was sent.
    """
    outbox = ship.outbox()
    client = ship.client(settings.d4, outbox, lambda state: None)
    sending = asyncio.create_task(client.run())
    stopped = asyncio.create_task(service.stopping.wait())
    broken: CaptureError | None = None
    try:
        for batch in found:
            for event in batch:
                outbox.put(event.wire())
            full = len(outbox) >= MOST_WAITING
            await _first(asyncio.create_task(outbox.empty() if full else asyncio.sleep(0)), stopped)
            if stopped.done():
                break
    except CaptureError as error:
        broken = error
    await _first(asyncio.create_task(outbox.empty()), stopped)
    client.stop()
    await sending
    stopped.cancel()
    if outbox:
        raise CaptureError(f"{len(outbox)} events were not sent")
    if broken:
        raise broken


MOST_WAITING = 10_000
"""Events that wait for the server before the file is read on: a file can wait."""


async def _first(work: asyncio.Task[None], stopped: asyncio.Task[bool]) -> None:
    """Waits for ``work``, or for the stop."""
    await asyncio.wait((work, stopped), return_when="FIRST_COMPLETED")
    work.cancel()
    with suppress(asyncio.CancelledError):
        await work


def _now(event: Event) -> Event:
    now = time.time_ns() // 1000
    return dataclasses.replace(event, sec=now // 1_000_000, usec=now % 1_000_000)
