"""From the sensor's outbox to the stream. ``delivery.rate``: events/s of 150 bytes from one sensor.

Plain D4: nothing is acknowledged, so the figure is what arrived in Redis until the last event did.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import tempfile
import time
from functools import partial
from pathlib import Path
from uuid import uuid4

from redis import Redis

from bench.figure import show
from bench.ingest import KEY
from d4common import tls
from d4common.client import Client, Outbox
from d4common.config import Endpoint
from d4common.packet import EXTENDED
from d4common.records import partition, stream
from d4common.sender import Identity, Sender
from demo.chain import Chain

EVENTS = 300_000
SNAPLEN = 4096
LINE = b"x" * 149 + b"\n"


def main() -> None:
    """Measures and prints."""
    with tempfile.TemporaryDirectory(prefix="d4-bench-") as directory, Chain(Path(directory)) as chain:
        redis = Redis(unix_socket_path=str(chain.redis_socket))
        identity = Identity(uuid4(), KEY)
        key_file = Path(directory, "key")
        key_file.write_bytes(KEY)
        chain.run("d4server", "server", "sensors", "add", str(identity.uuid), "--key-file", str(key_file))
        chain.exporter.stop()
        began = time.perf_counter()
        arguments = (identity, chain.tls_port, chain.directory / "ca.pem")
        sensor = multiprocessing.Process(target=ship, args=arguments)
        sensor.start()
        key = stream("maltrail", partition(identity.uuid))
        packets = -(-EVENTS // (SNAPLEN // len(LINE)))
        while redis.xinfo_stream(key)["entries-added"] < packets:
            time.sleep(0.005)
        seconds = time.perf_counter() - began
        sensor.join()
        show("delivery.rate", EVENTS / seconds, "events/s", acknowledged=False, cores=os.cpu_count())


def ship(identity: Identity, port: int, ca: Path) -> None:
    """The shipping side of a sensor, with all its events at hand."""
    asyncio.run(_ship(identity, port, ca))


async def _ship(identity: Identity, port: int, ca: Path) -> None:
    outbox = Outbox(1 << 30)
    for _ in range(EVENTS):
        outbox.put(LINE)
    sender = Sender(identity, EXTENDED, {"type": "maltrail"}, SNAPLEN)
    context = partial(tls.client_context, ca, verify=True)
    client = Client(sender, outbox, Endpoint("127.0.0.1", port), context, lambda state: None)
    sending = asyncio.create_task(client.run())
    await outbox.empty()
    client.stop()
    await sending


if __name__ == "__main__":
    main()
