"""d4-server with 500 sensors, each of which sends 20 lines a second, a packet each, at its own times.

``ingest.fleet_p99`` is the time from a line's write to its arrival in the stream, durable (appendfsync
always), as a consumer sees it that waits there: of a hundred lines, the slowest. None may be lost. Sensors,
server, Redis and consumer share the cores.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import ssl
import tempfile
import time
from collections.abc import Sequence
from itertools import cycle, islice
from multiprocessing.connection import Connection
from pathlib import Path
from uuid import UUID, uuid4

import uvloop
from redis import Redis

from bench.cpu import of_tree
from bench.figure import show
from d4common import redis_client, tls
from d4common.compression import decompress
from d4common.packet import encode
from d4common.records import streams
from d4common.sender import Identity
from d4server import sensors
from demo.chain import Chain

KEY = b"a key of the benchmark"
TYPE = 3
SENSORS = 500
RATE = 20.0
"""Lines a second of each."""

SECONDS = 20
WANTED = int(SENSORS * RATE * SECONDS)
"""Lines of all together."""

TICK = 0.001
"""Seconds between two looks at whose turn it is."""

AT_ONCE = 50
"""Handshakes under way."""

SLOWEST = 10.0
"""Seconds after which a line counts as lost."""


def main() -> None:
    """Measures and prints."""
    directory = tempfile.TemporaryDirectory(prefix="d4-bench-", dir="/var/tmp")
    with directory as path, Chain(Path(path), workers=2) as chain:
        chain.exporter.stop()
        uuids = [uuid4() for _ in range(SENSORS)]
        asyncio.run(let_in(chain.redis_socket, uuids))
        receiving, results = multiprocessing.Pipe(duplex=False)
        consumer = multiprocessing.Process(target=consume, args=(chain.redis_socket, results))
        arguments = (chain.tls_port, chain.directory / "ca.pem", uuids)
        fleet = multiprocessing.Process(target=run, args=arguments)
        consumer.start()
        fleet.start()
        delays = sorted(receiving.recv())
        fleet.join()
        consumer.join()
        server = chain.server.process and of_tree(chain.server.process.pid)
    show(
        "ingest.fleet_p99",
        delays[len(delays) * 99 // 100] * 1000,
        "ms",
        p50=round(delays[len(delays) // 2] * 1000, 3),
        max=round(delays[-1] * 1000, 3),
        lost=WANTED - len(delays),
        sensors=SENSORS,
        server_us=round((server or 0) / WANTED * 1e6, 1),
        cores=os.cpu_count(),
    )


async def let_in(redis_socket: Path, uuids: Sequence[UUID]) -> None:
    """Does what `d4-server sensors add` does, for each."""
    redis = redis_client.connect(f"unix://{redis_socket}")
    for uuid in uuids:
        await sensors.add(redis, Identity(uuid, KEY))
    await redis_client.close(redis)


def run(port: int, ca: Path, uuids: Sequence[UUID]) -> None:
    """The process of the sensors."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(send(port, ca, uuids))


async def send(port: int, ca: Path, uuids: Sequence[UUID]) -> None:
    """All sensors, one after another, so that each has its own times."""
    context = tls.client_context(ca, verify=True)
    places = asyncio.Semaphore(AT_ONCE)

    async def connect() -> asyncio.StreamWriter:
        async with places:
            return await open_one(context, port)

    writers = await asyncio.gather(*(connect() for _ in uuids))
    turns = cycle(zip(writers, uuids, strict=True))
    loop, sent = asyncio.get_running_loop(), 0
    began = loop.time()
    while sent < WANTED:
        due = min(WANTED, int((loop.time() - began) * RATE * SENSORS))
        for writer, uuid in islice(turns, due - sent):
            line = b"%.6f %s\n" % (time.time(), b"." * 130)
            writer.write(encode(KEY, uuid.bytes, TYPE, line, int(time.time())))
        sent = due
        await asyncio.sleep(TICK)
    for writer in writers:
        writer.close()
        await writer.wait_closed()


async def open_one(context: ssl.SSLContext, port: int) -> asyncio.StreamWriter:
    """A connection after its handshake."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, limit=1024)
    return writer


def consume(redis_socket: Path, results: Connection) -> None:
    """Tells how long each line took, when all have come, or none has for SLOWEST seconds."""
    redis = Redis(unix_socket_path=str(redis_socket))
    since = dict.fromkeys(streams(str(TYPE)), "0")
    delays: list[float] = []
    last = None
    while len(delays) < WANTED and (last is None or time.monotonic() - last < SLOWEST):
        found = redis.xread(since, block=1000)
        now = time.time()
        for key, entries in found:
            since[key.decode()] = entries[-1][0]
            for _, fields in entries:
                delays += [now - float(line.split()[0]) for line in decompress(fields).splitlines()]
        if found:
            last = time.monotonic()
    results.send(delays)


if __name__ == "__main__":
    main()
