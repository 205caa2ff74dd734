"""The sensor's spool: events of 150 bytes through outbox and spool, on a disk, each commit synchronous=FULL.

``spool.append``: events/s that are put, committed, read as a client reads them, and acknowledged;
``spool.cpu`` is what one of them takes of a core. ``spool.latency_p99``: from put to committed at 1,000
events/s. Then 1,000,000 events pile up: ``spool.open`` is how long it takes to see that they are whole, which
nothing but sending waits for; ``spool.backlog`` how fast they are read and acknowledged; ``spool.memory`` the
most that the process needed that filled the spool, and that emptied it.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path

import uvloop

from bench.figure import show
from d4sensor.outbox import SpoolOutbox
from d4sensor.salvage import open_spool

EVENTS = 1_000_000
AT_ONCE = 500
"""Events that are put at once; their source waits where there is no room, as a file can."""

TRICKLE = 5_000
"""Events that are put one by one, 1,000 a second."""

SNAPLEN = 4096
WINDOW = 4 << 20
"""Bytes that are read at once, the most that a client has on its way."""

LINE = b"x" * 149 + b"\n"

Measurement = Callable[[SpoolOutbox], Coroutine[None, None, None]]


def main() -> None:
    """Measures and prints, each in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="d4-bench-", dir="/var/tmp") as name:  # /tmp may be memory
        for measurement in (passing, trickling, filling, emptying):
            spawned = multiprocessing.get_context("spawn").Process(target=run, args=(measurement, Path(name)))
            spawned.start()
            spawned.join()


def run(measurement: Measurement, directory: Path) -> None:
    """One measurement of the spool in a directory."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(measured(measurement, directory))


async def measured(measurement: Measurement, directory: Path) -> None:
    """Opens the spool and measures."""
    open_ = partial(open_spool, directory / "spool", 254, {"type": "maltrail"}, 1 << 30, 1 << 30)
    outbox = SpoolOutbox(open_, SNAPLEN)
    began = time.perf_counter()
    await outbox.open()
    if len(outbox):
        show("spool.open", time.perf_counter() - began, "s", events=len(outbox))
    await measurement(outbox)
    await outbox.close()


async def passing(outbox: SpoolOutbox) -> None:
    """Events that go through, the client keeping up."""
    began, cpu = time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as group:
        group.create_task(fill(outbox))
        group.create_task(send(outbox))
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    show("spool.append", EVENTS / seconds, "events/s")
    show("spool.cpu", cpu / EVENTS * 1e6, "us/event")


async def trickling(outbox: SpoolOutbox) -> None:
    """Events that come one by one; each commit holds all that came before it began."""
    times: list[float] = []

    async def put(due: float) -> None:
        await asyncio.sleep(max(due - time.perf_counter(), 0))
        began = time.perf_counter()
        outbox.put(LINE)
        await outbox.filled(outbox.next)
        times.append(time.perf_counter() - began)

    start = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(TRICKLE):
            group.create_task(put(start + number / 1000))
    await outbox.committed()
    await outbox.acknowledge(outbox.next - 1)
    times.sort()
    half, most = times[len(times) // 2], times[len(times) * 99 // 100]
    show("spool.latency_p99", most * 1000, "ms", p50=round(half * 1000, 3))


async def filling(outbox: SpoolOutbox) -> None:
    """Events that pile up."""
    await fill(outbox)
    await outbox.committed()
    show("spool.memory", peak(), "MiB", of="filling")


async def emptying(outbox: SpoolOutbox) -> None:
    """The pile that is read from the disk."""
    began = time.perf_counter()
    await send(outbox)
    await outbox.empty()
    show("spool.backlog", EVENTS / (time.perf_counter() - began), "events/s")
    show("spool.memory", peak(), "MiB", of="emptying")


async def fill(outbox: SpoolOutbox) -> None:
    """All events, as fast as the outbox takes them."""
    for _ in range(EVENTS // AT_ONCE):
        await outbox.put_all([LINE] * AT_ONCE)
        await asyncio.sleep(0)


async def send(outbox: SpoolOutbox) -> None:
    """What a client does, without a network."""
    left = EVENTS * len(LINE)
    while left:
        await outbox.filled(outbox.first)
        packets = await outbox.read(outbox.first, WINDOW)
        left -= sum(len(packet.payload) for packet in packets)
        await outbox.acknowledge(packets[-1].number)


def peak() -> float:
    """The most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
