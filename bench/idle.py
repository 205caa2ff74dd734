"""d4-server: what 5,000 idle connections of sensors cost, and how fast one more is served meanwhile.

Each connection has proved itself by a packet and then says nothing. ``ingest.idle`` is the memory that the
server has for itself; ``ingest.idle_next`` is the time from the first byte of another connection's handshake
to the moment at which its packet is in Redis. ``ingest.idle_after_traffic`` is what each of 500 connections
costs that had traffic before they fell idle.
"""

from __future__ import annotations

import asyncio
import resource
import ssl
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID, uuid4

from redis import Redis

from bench.figure import show
from bench.memory import Memory, of_process
from d4common import redis_client, tls
from d4common.packet import encode
from d4common.records import streams
from d4common.sender import Identity
from d4server import certificates, sensors
from demo.chain import PYTHON, Daemon, free_port

KEY = b"a key of the benchmark"
CONNECTIONS = 5_000
ADDRESSES = 50
"""From which they come (127.0.1.1 and following)."""

AT_ONCE = 50
"""Handshakes under way."""

NEXT = 20
"""Connections that are timed."""

BUSY = 500
"""Connections that send PACKETS packets of PAYLOAD bytes each, and then nothing more."""

PACKETS, PAYLOAD = 8, 25_000

REST = 7.0
"""Seconds after which what the traffic needed must be given back."""


def main() -> None:
    """Measures and prints."""
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (CONNECTIONS + 1000, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    )
    with tempfile.TemporaryDirectory(prefix="d4-bench-") as name:
        directory = Path(name)
        redis_socket, port = directory / "redis.sock", free_port()
        certificates.ensure(directory, [])
        (directory / "server.conf").write_text(
            f"[redis]\nurl = unix://{redis_socket}\n[d4]\nlisten = 127.0.0.1\ntls_port = {port}\n"
            f"certificate = {directory}/tls/server.pem\nkey = {directory}/tls/server.key\n"
        )
        options = ["--port", "0", "--unixsocket", str(redis_socket), "--dir", name, "--save", ""]
        redis = Daemon("redis", ["redis-server", *options, "--supervised", "systemd"], directory)
        run = [PYTHON, "-m", "d4server", "--config", str(directory / "server.conf"), "run"]
        server = Daemon("server", run, directory)
        redis.start()
        try:
            server.start()
            asyncio.run(measure(server, redis_socket, port, directory / "ca.pem"))
        finally:
            server.stop()
            redis.stop()


async def measure(server: Daemon, redis_socket: Path, port: int, ca: Path) -> None:
    """Opens the connections, and prints the figures."""
    sensor = uuid4()
    await let_in(redis_socket, sensor)
    context = tls.client_context(ca, verify=True)
    assert server.process is not None
    before = of_process(server.process.pid)
    writers = await open_all(context, port, sensor)
    redis = Redis(unix_socket_path=str(redis_socket))
    while added(redis) < CONNECTIONS:
        await asyncio.sleep(0.1)
    after = of_process(server.process.pid)
    times = [await serve_next(context, port, sensor, redis) for _ in range(NEXT)]
    show("ingest.idle", after.private, "MB", connections=CONNECTIONS, each_kb=each(before, after))
    show("ingest.idle_next", statistics.median(times) * 1000, "ms", worst=max(times) * 1000)
    await send(writers[:BUSY], sensor, redis)
    rested = of_process(server.process.pid)
    cost = each(before, after) + each(after, rested, BUSY)
    show("ingest.idle_after_traffic", cost, "kB", connections=BUSY, sent_kb=PACKETS * PAYLOAD / 1000)
    for writer in writers:
        writer.transport.abort()


def each(before: Memory, after: Memory, connections: int = CONNECTIONS) -> float:
    """Kilobytes that one connection costs."""
    return (after.private - before.private) * 1000 / connections


async def send(writers: Sequence[asyncio.StreamWriter], sensor: UUID, redis: Redis) -> None:
    """Traffic on these connections; returns when all is stored and it has been quiet for REST seconds."""
    had = added(redis)
    packet = encode(KEY, sensor.bytes, 3, b"x" * (PAYLOAD - 1) + b"\n", int(time.time()))
    for writer in writers:
        writer.write(packet * PACKETS)
    await asyncio.gather(*(writer.drain() for writer in writers))
    while added(redis) < had + PACKETS * len(writers):
        await asyncio.sleep(0.1)
    await asyncio.sleep(REST)


async def let_in(redis_socket: Path, sensor: UUID) -> None:
    """Does what `d4-server sensors add` does."""
    redis = redis_client.connect(f"unix://{redis_socket}")
    await sensors.add(redis, Identity(sensor, KEY))
    await redis_client.close(redis)


async def open_all(context: ssl.SSLContext, port: int, sensor: UUID) -> Sequence[asyncio.StreamWriter]:
    """All idle connections, some at once."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> asyncio.StreamWriter:
        async with places:
            return await connect(context, port, sensor, f"127.0.1.{1 + number % ADDRESSES}")

    return await asyncio.gather(*map(one, range(CONNECTIONS)))


async def connect(
    context: ssl.SSLContext, port: int, sensor: UUID, address: str = "127.0.0.1"
) -> asyncio.StreamWriter:
    """A connection that has proved itself."""
    _, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, local_addr=(address, 0), limit=1024
    )
    writer.write(encode(KEY, sensor.bytes, 3, b"here\n", int(time.time())))
    return writer


async def serve_next(context: ssl.SSLContext, port: int, sensor: UUID, redis: Redis) -> float:
    """Seconds until the packet of one more connection is in Redis."""
    had, began = added(redis), time.perf_counter()
    writer = await connect(context, port, sensor)
    while added(redis) == had:
        await asyncio.sleep(0)
    taken = time.perf_counter() - began
    writer.transport.abort()
    return taken


def added(redis: Redis) -> int:
    """Entries ever added to the streams of type 3."""
    return sum(redis.xlen(key) for key in streams("3"))


if __name__ == "__main__":
    main()
