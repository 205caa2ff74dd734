"""`d4-sensor replay`: capture files through the engine, events to standard output or to the server."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress

from d4common.event import Event
from d4common.outbox import MemoryOutbox
from d4common.service import Service
from d4sensor import capture, ship
from d4sensor.capture import Batch, CaptureError
from d4sensor.config import SensorConfig
from d4sensor.engine import Engine

log = logging.getLogger(__name__)


def events(engine: Engine, packets: Iterable[Batch], wallclock: bool) -> Iterator[list[Event]]:
    """The events of packets, in order, batch by batch, and at last what the engine held back.

    With ``wallclock`` they happen now; otherwise when the packets were captured. Raises the CaptureError of
    ``packets``, once all events before the damage were returned.
    """
    broken: CaptureError | None = None
    try:
        for batch in packets:
            yield _timed(engine.judge(batch), wallclock)
    except CaptureError as error:
        broken = error
    yield _timed(engine.finish(), wallclock)
    if broken:
        raise broken


def batches(files: Iterable[str]) -> Iterator[Batch]:
    """The packets in capture files, in order. Raises CaptureError."""
    for path in files:
        source = capture.open_file(path)
        try:
            while (batch := source.read()) is not None:
                yield batch
        finally:
            source.close()


def watched(packets: Iterable[Batch]) -> Iterator[Batch]:
    """The packets, with their number on the terminal that standard error is, if it is one."""
    if not sys.stderr.isatty():
        yield from packets
        return
    count, next_time = 0, 0.0
    try:
        for batch in packets:
            count += len(batch.meta)
            if time.monotonic() >= next_time:
                print(f"\r{count:,} packets", end="", file=sys.stderr, flush=True)
                next_time = time.monotonic() + PROGRESS_INTERVAL
            yield batch
    finally:
        print(f"\r{count:,} packets", file=sys.stderr)


PROGRESS_INTERVAL = 0.2
"""Seconds between looks at the number of packets."""


def show(found: Iterable[list[Event]], as_json: bool = False) -> None:
    """Prints events as Maltrail's log has them, or as objects of JSON, one a line."""
    for batch in found:
        sys.stdout.writelines(f"{json.dumps(fields(e)) if as_json else e.line()}\n" for e in batch)
    sys.stdout.flush()


def fields(event: Event) -> dict[str, object]:
    """An event as fields of JSON, with its severity."""
    return {**dataclasses.asdict(event), "severity": event.severity}


async def send(found: Iterable[list[Event]], settings: SensorConfig, service: Service) -> None:
    """Delivers events to the server, however long it takes to reach it; a signal ends that early.

    Raises CaptureError where a file could not be read to its end, once what it held before was delivered.
    """
    sender = ship.event_sender(settings.d4)
    outbox = MemoryOutbox(MAX_BYTES, settings.d4.snaplen)
    client = ship.client(settings.d4, sender, outbox, lambda state: None)
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
        raise CaptureError(f"{len(outbox)} events were not delivered")
    if broken:
        raise broken


MOST_WAITING = 10_000
"""Events that wait for the server before the file is read on: a file can wait."""

MAX_BYTES = 1 << 30
"""More than so many events, and those of one batch of packets, ever have."""


async def _first(work: asyncio.Task[None], stopped: asyncio.Task[bool]) -> None:
    """Waits for ``work``, or for the stop."""
    await asyncio.wait((work, stopped), return_when="FIRST_COMPLETED")
    work.cancel()
    with suppress(asyncio.CancelledError):
        await work


def _timed(found: list[Event], wallclock: bool) -> list[Event]:
    return list(map(_now, found)) if wallclock else found


def _now(event: Event) -> Event:
    now = time.time_ns() // 1000
    return dataclasses.replace(event, sec=now // 1_000_000, usec=now % 1_000_000)
