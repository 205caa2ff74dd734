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
from pathlib import Path
from uuid import UUID, uuid4

from redis import Redis

from bench.figure import show
from d4common import tls
from d4common.packet import META_HEADER, Decoder, encode
from d4common.records import partition, stream
from d4common.session import ALPN_ACK, SESSION
from demo.chain import Chain

KEY = b"a key of the benchmark"
PACKETS = 25_000
SNAPLEN = 4096
TYPE = 3


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
        while added(redis, key) < PACKETS:
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
    """Packets as a sensor of events sends them: lines of 150 bytes, the last one filled up."""
    line = b"x" * 149 + b"\n"
    payload = line * (SNAPLEN // len(line))
    payload = b"y" * (SNAPLEN - len(payload) - 1) + b"\n" + payload
    now = int(time.time())
    return [encode(KEY, sensor.bytes, TYPE, payload, now)] * PACKETS


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


def added(redis: Redis, key: str) -> int:
    """Entries ever added to a stream."""
    return int(redis.xinfo_stream(key)["entries-added"]) if redis.exists(key) else 0


if __name__ == "__main__":
    main()
