"""d4-server: packets into Redis. ``ingest.one``: one connection, 4 KiB packets, durable (appendfsync always).

The load is made beforehand and sent over real TLS by a process of its own; the clock runs from the first
byte to the moment at which Redis has the last entry. Redis, server and load share the cores.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import ssl
import tempfile
import time
from pathlib import Path
from uuid import UUID, uuid4

from redis import Redis

from bench.figure import show
from d4common.packet import encode
from d4common.records import partition, stream
from demo.chain import Chain

KEY = b"a key of the benchmark"
PACKETS = 25_000
SNAPLEN = 4096
TYPE = 3


def main() -> None:
    """Measures and prints."""
    with tempfile.TemporaryDirectory(prefix="d4-bench-") as directory, Chain(Path(directory)) as chain:
        redis = Redis(unix_socket_path=str(chain.redis_socket))
        sensor = uuid4()
        key_file = Path(directory, "key")
        key_file.write_bytes(KEY)
        chain.run("d4server", "server", "sensors", "add", str(sensor), "--key-file", str(key_file))
        load = b"".join(packets(sensor))
        began = time.perf_counter()
        sender = multiprocessing.Process(target=send, args=(chain.tls_port, chain.directory / "ca.pem", load))
        sender.start()
        key = stream(str(TYPE), partition(sensor))
        while added(redis, key) < PACKETS:
            time.sleep(0.005)
        seconds = time.perf_counter() - began
        sender.join()
        show("ingest.one", PACKETS / seconds, "packets/s", payload_bytes=SNAPLEN, cores=os.cpu_count())


def packets(sensor: UUID) -> list[bytes]:
    """Packets as a sensor of events sends them: lines of 150 bytes, the last one filled up."""
    line = b"x" * 149 + b"\n"
    payload = line * (SNAPLEN // len(line))
    payload = b"y" * (SNAPLEN - len(payload) - 1) + b"\n" + payload
    now = int(time.time())
    return [encode(KEY, sensor.bytes, TYPE, payload, now)] * PACKETS


def send(port: int, ca: Path, load: bytes) -> None:
    """Sends ``load`` over one connection."""
    context = ssl.create_default_context(cafile=ca)
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        view = memoryview(load)
        for offset in range(0, len(view), 1 << 18):
            connection.sendall(view[offset : offset + (1 << 18)])
        connection.unwrap()


def added(redis: Redis, key: str) -> int:
    """Entries ever added to a stream."""
    return int(redis.xinfo_stream(key)["entries-added"]) if redis.exists(key) else 0


if __name__ == "__main__":
    main()
