"""The shipping side of a sensor, which bench.delivery measures: ``python -m bench.shipping CONFIG WHAT``.

Events of 150 bytes go through the spool to the server, as the daemon sends them; each begins with the time
at which it was put, in nanoseconds since the epoch. Prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path

import uvloop

from bench import memory
from d4common import config
from d4sensor import ship
from d4sensor.config import SensorConfig
from d4sensor.outbox import SpoolOutbox

EVENTS = 1_000_000
SIZE = 150
AT_ONCE = 500
"""Events that are put at once; their source waits where there is no room, as a file can."""

TRICKLE, PACE = 10_000, 1000
"""Events that are put one by one, and how many of them in a second."""

LOOK = 0.05
"""Seconds between looks at the memory."""

Result = dict[str, float]


def main(path: Path, what: str) -> None:
    """Measures and prints."""
    settings = config.load(SensorConfig, config.files_of(path)).value
    measure = {"rate": rate, "trickle": trickle, "fill": fill, "empty": empty}[what]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(measured(settings, measure))))


async def measured(
    settings: SensorConfig, measure: Callable[[SpoolOutbox], Coroutine[None, None, Result]]
) -> Result:
    """What is measured while the spool of events is being sent."""
    sender = ship.event_sender(settings.d4)
    outbox = ship.outbox(settings.spool.path / ship.EVENT_SPOOL, settings.spool, sender, settings.d4.snaplen)
    client = ship.client(settings.d4, sender, outbox, lambda state: None)
    await outbox.open()
    sending = asyncio.create_task(client.run())
    result = await measure(outbox)
    client.stop()
    await sending
    await outbox.close()
    return result


async def rate(outbox: SpoolOutbox) -> Result:
    """Seconds, also of CPU, until the server has acknowledged all events, put as fast as they are taken."""
    await put(outbox, 1)
    await outbox.empty()  # it is connected
    began, cpu = time.perf_counter(), time.process_time()
    await put(outbox, EVENTS)
    await outbox.empty()
    return {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}


async def trickle(outbox: SpoolOutbox) -> Result:
    """Events at an even pace."""
    start = time.perf_counter()
    for number in range(TRICKLE):
        await asyncio.sleep(start + number / PACE - time.perf_counter())
        outbox.put(event())
    await outbox.empty()
    return {}


async def fill(outbox: SpoolOutbox) -> Result:
    """The most memory while events pile up, the server being away."""
    filling = asyncio.create_task(put(outbox, EVENTS))
    most = await most_memory(filling)
    return {"memory": most}


async def empty(outbox: SpoolOutbox) -> Result:
    """Seconds until what has piled up is with the server, and the most memory meanwhile."""
    began = time.perf_counter()
    most = await most_memory(asyncio.create_task(outbox.empty()))
    return {"seconds": time.perf_counter() - began, "memory": most}


async def put(outbox: SpoolOutbox, events: int) -> None:
    """Puts so many events; returns when they are in the spool."""
    for start in range(0, events, AT_ONCE):
        await outbox.put_all([event()] * min(AT_ONCE, events - start))
        await asyncio.sleep(0)
    await outbox.committed()


async def most_memory(work: asyncio.Task[None]) -> float:
    """The most private memory, in MB, while ``work`` is done."""
    most = 0.0
    while not work.done():
        most = max(most, memory.of_this_process().private)
        await asyncio.sleep(LOOK)
    work.result()
    return most


def event() -> bytes:
    """An event of now."""
    return b"%-*d\n" % (SIZE - 1, time.time_ns())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
