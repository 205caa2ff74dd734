"""d4-server: packets of 4 KiB into Redis. Redis, server and load share the cores.

``ingest.one``: plain D4 over one connection, durable (appendfsync always); ``ingest.everysec``: the same
with appendfsync everysec; ``ingest.acknowledged``: one acknowledged session, durable, until the client has
the server's word for the last packet; ``ingest.fifty``: 50 sensors in plain D4, durable, two workers. The
clock of plain D4 runs from the first byte until Redis has all; then it is counted.

The load is made beforehand and sent over real TLS by a process of its own. Each line says what a packet
costs by stage, in microseconds of a core, and which stage is the limit: one that has a core to itself nine
tenths of the time; or all cores; or else the disk, for which Redis waits. ``ratio`` is to what the reference
server does with the same load, without durability.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import socket
import ssl
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from multiprocessing.synchronize import Event
from pathlib import Path
from uuid import UUID, uuid4

from redis import Redis

from bench import events
from bench.cpu import of_tree
from bench.figure import show
from d4common import metrics, queues, redis_client, tls
from d4common.compression import decompress
from d4common.packet import META_HEADER, Decoder, encode
from d4common.records import streams
from d4common.session import ALPN_ACK, SESSION
from demo.chain import Chain

KEY = b"a key of the benchmark"
PACKETS = 50_000
SNAPLEN = 4096
TYPE = 3
DIFFERENT = 500
"""Payloads that are not alike; they are sent again and again."""

PIECE = 1 << 16
"""Bytes that go into one connection before it is the next one's turn."""

UPSTREAM = {1: 1375, 50: 1083}
"""Packets a second of the reference server, by connections."""

BUSY = 0.9
"""Of a core, from which on a stage is the limit."""


def main() -> None:
    """Measures and prints."""
    for name, connections, workers, fsync, acknowledged in (
        ("ingest.one", 1, 1, "always", False),
        ("ingest.everysec", 1, 1, "everysec", False),
        ("ingest.acknowledged", 1, 1, "always", True),
        ("ingest.fifty", 50, 2, "always", False),
    ):
        # Not in /tmp, which may be memory.
        directory = tempfile.TemporaryDirectory(prefix="d4-bench-", dir="/var/tmp")
        with directory as path, Chain(Path(path), workers) as chain:
            chain.exporter.stop()
            redis = Redis(unix_socket_path=str(chain.redis_socket))
            redis.config_set("appendfsync", fsync)
            asyncio.run(make_queue(chain))
            sensors = [let_in(chain) for _ in range(connections)]
            costs, seconds = measure(chain, sensors, acknowledged)
            check(redis)
            show(
                name,
                PACKETS / seconds,
                "packets/s",
                ratio=round(PACKETS / seconds / UPSTREAM[connections], 1),
                payload_bytes=SNAPLEN,
                **{f"{stage}_us": round(spent / PACKETS * 1e6, 1) for stage, spent in costs.items()},
                limit=limit(costs, seconds, workers),
                cores=os.cpu_count(),
            )


async def make_queue(chain: Chain) -> None:
    """A queue that needs what is stored; without one, the server keeps only the last of it."""
    redis = redis_client.connect(f"unix://{chain.redis_socket}")
    await queues.create_queue(redis, str(TYPE), "bench")
    await redis_client.close(redis)


def let_in(chain: Chain) -> UUID:
    """A sensor that may connect."""
    sensor, key_file = uuid4(), chain.directory / "key"
    key_file.write_bytes(KEY)
    chain.run("d4server", "server", "sensors", "add", str(sensor), "--key-file", str(key_file))
    return sensor


def measure(chain: Chain, sensors: Sequence[UUID], acknowledged: bool) -> tuple[dict[str, float], float]:
    """Seconds of a core that each stage has taken, and seconds until all was stored."""
    load = [b"".join(session(sensor, PACKETS // len(sensors), acknowledged)) for sensor in sensors]
    ready, go = multiprocessing.Event(), multiprocessing.Event()
    arguments = (chain.tls_port, chain.directory / "ca.pem", load, acknowledged, ready, go)
    sender = multiprocessing.Process(target=send, args=arguments)
    sender.start()
    ready.wait()
    processes = {
        "load": sender.pid,
        "server": chain.server.process and chain.server.process.pid,
        "redis": chain.redis.process and chain.redis.process.pid,
    }
    before = {stage: of_tree(pid) for stage, pid in processes.items() if pid}
    began = time.perf_counter()
    go.set()
    last = before["load"]
    while sender.is_alive():
        last = max(last, of_tree(sender.pid or 0))
        sender.join(0.02)
    if sender.exitcode:
        raise SystemExit("the load was not sent")
    while not (acknowledged or is_stored(chain)):
        time.sleep(0.01)
    seconds = time.perf_counter() - began
    after = {
        **{stage: of_tree(pid) for stage, pid in processes.items() if pid and stage != "load"},
        "load": last,
    }
    return {stage: after[stage] - before[stage] for stage in before}, seconds


def session(sensor: UUID, count: int, acknowledged: bool) -> Iterator[bytes]:
    """What a sensor sends that has many events: packets of whole lines, as many as fit."""
    now = int(time.time())
    if acknowledged:
        announcement = json.dumps({"type": SESSION, "spool": str(uuid4()), "seq": 1}).encode()
        yield encode(KEY, sensor.bytes, META_HEADER, announcement, now)
    for payload in islice(cycle(payloads()), count):
        yield encode(KEY, sensor.bytes, TYPE, payload, now)


def payloads() -> list[bytes]:
    """Whole lines together, up to SNAPLEN bytes."""
    found, lines = [b""], events.lines(DIFFERENT * SNAPLEN // 100)
    while len(found) <= DIFFERENT:
        line = next(lines)
        if len(found[-1]) + len(line) > SNAPLEN:
            found.append(b"")
        found[-1] += line
    return found[:DIFFERENT]


def send(
    port: int,
    ca: Path,
    load: Sequence[bytes],
    acknowledged: bool,
    ready: Event,
    go: Event,
) -> None:
    """Sends each load over a connection of its own, in turns, and waits for the last acknowledgement."""
    context = tls.client_context(ca, verify=True, alpn=(ALPN_ACK,) if acknowledged else ())
    connections = [connect(context, port) for _ in load]
    ready.set()
    go.wait()
    for offset in range(0, max(map(len, load)), PIECE):
        for connection, data in zip(connections, load, strict=True):
            connection.sendall(memoryview(data)[offset : offset + PIECE])
    for connection in connections:
        if acknowledged:
            wait_for_last(connection)
        connection.unwrap()
        connection.close()


def connect(context: ssl.SSLContext, port: int) -> ssl.SSLSocket:
    """A connection after its handshake."""
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="127.0.0.1")


def wait_for_last(connection: ssl.SSLSocket) -> None:
    """Reads answers until one is for the last packet."""
    decoder, stored = Decoder(), 0
    while stored < PACKETS:
        data = connection.recv(1 << 16)
        if not data:
            raise ConnectionResetError("the server closed the connection")
        decoder.receive_data(data)
        while (packet := decoder.next_packet()) is not None:
            stored = json.loads(packet.payload)["seq"]


def is_stored(chain: Chain) -> bool:
    """Whether no connection is left, and nothing waits for Redis."""
    samples = metrics.fetch(chain.directory / "metrics.sock")
    return not any(
        value for name in ("d4_connections", "d4_store_waiting_bytes") for _, value in samples[name]
    )


def check(redis: Redis) -> None:
    """All lines must be there."""
    stored = sum(
        decompress(fields).count(b"\n") for key in streams(str(TYPE)) for _, fields in redis.xrange(key)
    )
    wanted = sum(payload.count(b"\n") for payload in payloads()) * (PACKETS // DIFFERENT)
    if stored != wanted:
        raise SystemExit(f"{stored} of {wanted} lines are stored")


def limit(costs: dict[str, float], seconds: float, workers: int) -> str:
    """The stage that was busy all the time."""
    stage = max(costs, key=lambda name: costs[name] / (workers if name == "server" else 1))
    whole = costs[stage] / (workers if stage == "server" else 1)
    if whole > BUSY * seconds:
        return stage
    return "cores" if sum(costs.values()) > BUSY * seconds * (os.cpu_count() or 1) else "disk"


if __name__ == "__main__":
    main()
