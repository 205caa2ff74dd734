"""d4-server: packets into Redis, one connection, 4 KiB packets, durable (appendfsync always).

``ingest.one`` is plain D4; its clock runs from the first byte to the moment at which Redis has the last
entry. ``ingest.acknowledged`` is an acknowledged session; its clock runs until the client has the server's
word for the last packet. The load is made beforehand and sent over real TLS by a process of its own. Redis,
server and load share the cores.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from uuid import UUID, uuid4

from redis import Redis

from bench import events
from bench.figure import show
from d4common import tls
from d4common.compression import decompress
from d4common.packet import META_HEADER, Decoder, encode
from d4common.records import partition, stream
from d4common.session import ALPN_ACK, SESSION
from demo.chain import Chain

KEY = b"a key of the benchmark"
PACKETS = 25_000
SNAPLEN = 4096
TYPE = 3
LAST = b"the last line\n"
DIFFERENT = 500
"""Payloads that are not alike; they are sent again and again."""


def main() -> None:
    """Measures and prints."""
    with tempfile.TemporaryDirectory(prefix="d4-bench-") as directory, Chain(Path(directory)) as chain:
        for name, measure in (("ingest.one", plain), ("ingest.acknowledged", acknowledged)):
            sensor = uuid4()
            key_file = Path(directory, "key")
            key_file.write_bytes(KEY)
            chain.run("d4server", "server", "sensors", "add", str(sensor), "--key-file", str(key_file))
            rate = PACKETS / measure(chain, sensor)
            show(name, rate, "packets/s", payload_bytes=SNAPLEN, cores=os.cpu_count())


def plain(chain: Chain, sensor: UUID) -> float:
    """Seconds until Redis has what was sent in plain D4."""
    redis = Redis(unix_socket_path=str(chain.redis_socket))
    key = stream(str(TYPE), partition(sensor))
    load = b"".join(packets(sensor))
    began = time.perf_counter()
    with sending(chain, load):
        while not arrived(redis, key):
            time.sleep(0.005)
        return time.perf_counter() - began


def acknowledged(chain: Chain, sensor: UUID) -> float:
    """Seconds until the client knows that the server has everything."""
    announcement = json.dumps({"type": SESSION, "spool": str(uuid4()), "seq": 1}).encode()
    opening = encode(KEY, sensor.bytes, META_HEADER, announcement, int(time.time()))
    load = opening + b"".join(packets(sensor))
    began = time.perf_counter()
    with sending(chain, load, acknowledged=True):
        pass
    return time.perf_counter() - began


def packets(sensor: UUID) -> list[bytes]:
    """Packets as a sensor sends them that has many events: whole lines, as many as fit."""
    now = int(time.time())
    payloads = islice(cycle(list(full(events.lines(DIFFERENT * 30)))[:DIFFERENT]), PACKETS - 1)
    return [encode(KEY, sensor.bytes, TYPE, payload, now) for payload in (*payloads, LAST)]


def full(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Lines together, up to SNAPLEN bytes."""
    payload = b""
    for line in lines:
        if len(payload) + len(line) > SNAPLEN:
            yield payload
            payload = b""
        payload += line


@contextmanager
def sending(chain: Chain, load: bytes, acknowledged: bool = False) -> Iterator[None]:
    """Sends meanwhile in another process, and waits for that at the end."""
    ca = chain.directory / "ca.pem"
    sender = multiprocessing.Process(target=send, args=(chain.tls_port, ca, load, acknowledged))
    sender.start()
    yield
    sender.join()
    if sender.exitcode:
        raise SystemExit("the load was not sent")


def send(port: int, ca: Path, load: bytes, acknowledged: bool) -> None:
    """Sends ``load`` over one connection, and waits for the last acknowledgement if there are any."""
    context = tls.client_context(ca, verify=True, alpn=(ALPN_ACK,) if acknowledged else ())
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        view = memoryview(load)
        for offset in range(0, len(view), 1 << 18):
            connection.sendall(view[offset : offset + (1 << 18)])
        if acknowledged:
            wait_for_last(connection)
        else:
            connection.unwrap()


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


def arrived(redis: Redis, key: str) -> bool:
    """Whether the stream has the last packet."""
    last = redis.xrevrange(key, count=1)
    return bool(last) and decompress(last[0][1]).endswith(LAST)


if __name__ == "__main__":
    main()
