"""d4-exporter: records from a queue to a socket. ``exporter.udp``: one process, datagrams of 150 bytes.

The queue is filled first. A receiver in a process of its own counts what arrives; the clock runs from the
start of the exporter's work, at the first datagram, to the last acknowledgement.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import socket
import tempfile
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from uuid import uuid4

from redis import Redis

from bench.figure import show
from d4common import records, redis_client
from d4common.records import Entry
from demo.chain import Chain

ENTRIES = 8_000
LINES = 27
LINE = b"x" * 149 + b"\n"


def main() -> None:
    """Measures and prints."""
    with tempfile.TemporaryDirectory(prefix="d4-bench-") as directory, Chain(Path(directory)) as chain:
        chain.exporter.stop()
        chain.collector.stop()
        with (chain.directory / "exporter.conf").open("a") as config:
            config.write("max_rate = 0\n")
        asyncio.run(fill(chain.redis_socket))
        redis = Redis(unix_socket_path=str(chain.redis_socket))
        listening, stopped = multiprocessing.Event(), multiprocessing.Event()
        receiver = multiprocessing.Process(target=receive, args=(chain.udp_port, listening, stopped))
        receiver.start()
        listening.wait()
        chain.exporter.start()
        began = time.perf_counter()
        while lag(redis):
            time.sleep(0.005)
        seconds = time.perf_counter() - began
        stopped.set()
        receiver.join()
        show("exporter.udp", ENTRIES * LINES / seconds, "records/s", record_bytes=149, cores=os.cpu_count())


async def fill(path: Path) -> None:
    """Entries of whole packets, of sensors in all partitions."""
    redis = redis_client.connect(f"unix://{path}")
    sensors = [uuid4() for _ in range(64)]
    entries = [Entry(sensors[n % 64], "maltrail", 0, LINE * LINES) for n in range(ENTRIES)]
    for offset in range(0, ENTRIES, 500):
        await records.append(redis, entries[offset : offset + 500])
    await redis_client.close(redis)


def receive(port: int, listening: Event, stopped: Event) -> None:
    """Takes datagrams as fast as they come."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", port))
        receiver.settimeout(0.2)
        listening.set()
        while not stopped.is_set():
            try:
                receiver.recv(8192)
            except TimeoutError:
                continue


def lag(redis: Redis) -> int:
    """Entries that the queue has not given out, or that are not acknowledged."""
    groups = [group for key in records.streams("maltrail") for group in redis.xinfo_groups(key)]
    return sum((group["lag"] or 0) + group["pending"] for group in groups)


if __name__ == "__main__":
    main()
