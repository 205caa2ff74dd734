"""How long lists take with 10,000 sensors: ``python -m bench.admin``.

The first byte of a page of sensors by the API, over HTTPS on one connection: pages, searches and orders in
turn, each after a pause as people make it, while the roster is kept fresh and a real Redis holds a day of
statistics of each sensor. The first of all is asked of a roster that has not been read.
"""

from __future__ import annotations

import http.client
import os
import random
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode
from uuid import UUID, uuid4

from redis import Redis

from bench.figure import show
from d4common.records import partition
from d4server import certificates
from d4server.statistics import DAY, day_key, seen_key
from demo.chain import PYTHON, Daemon, environment, free_port

SENSORS = 10_000
ASKED = 200
PAUSE = 0.06
"""Seconds; the server lets an address ask twenty times in a second."""


def main() -> None:
    """Fills, asks, and prints."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        socket = directory / "redis.sock"
        options = f"--port 0 --unixsocket {socket} --dir {name} --save".split()
        redis = subprocess.Popen(["redis-server", *options, ""], stdout=subprocess.DEVNULL)
        try:
            while not socket.exists():
                time.sleep(0.05)
            _fill(Redis(unix_socket_path=str(socket)))
            _measure(directory, socket)
        finally:
            redis.terminate()
            redis.wait(10)


def _fill(redis: Redis) -> None:
    """10,000 sensors that were heard today."""
    now, chance = int(time.time()), random.Random(7)
    pipe = redis.pipeline(transaction=False)
    for number in range(SENSORS):
        uuid = UUID(bytes=chance.randbytes(16), version=4)
        record = {"key": "k" * 64, "name": f"sensor {number:05} of a network", "added": now - number}
        counts = {"packets:maltrail": number, "bytes:maltrail": 100 * number, "records:maltrail": number}
        heard = {"first": now - 5, "last": now - 1, "address": f"198.18.{number >> 8}.{number & 255}"}
        pipe.hset(f"d4:{{sensors}}:{uuid}", mapping=record)
        pipe.sadd("d4:{sensors}", str(uuid))
        pipe.hset(day_key(uuid, now // DAY), mapping={**counts, **heard})
        pipe.zadd(seen_key(partition(uuid)), {str(uuid): now - 1})
    pipe.execute()


def _measure(directory: Path, socket: Path) -> None:
    port = free_port()
    config = directory / "server.conf"
    config.write_text(
        f"[redis]\nurl = unix://{socket}\n[web]\nlisten = 127.0.0.1\nhttps_port = {port}\n"
        f"[d4]\nmetrics = no\n"
        f"certificate = {directory}/tls/server.pem\nkey = {directory}/tls/server.key\n"
    )
    certificates.ensure(directory, [])
    base = [PYTHON, "-m", "d4server", "--config", str(config)]
    for arguments in ("users create bench", "tokens create bench viewer --user bench"):
        command = [*base, *arguments.split()]
        said = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    token = next(line.split()[-1] for line in said.stdout.splitlines() if line.startswith("token"))
    web = Daemon("web", [*base, "web"], directory)
    web.start()
    try:
        context = ssl.create_default_context(cafile=directory / "ca.pem")
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=20)
        first = _ask(connection, token, {})
        taken = sorted(_ask(connection, token, query) for query in _queries())
    finally:
        web.stop()
    details = {"sensors": SENSORS, "asked": ASKED, "cpus": os.cpu_count()}
    show("admin.list_ms", statistics.median(taken), "ms", **details)
    show("admin.list_p99_ms", taken[int(len(taken) * 0.99)], "ms", **details)
    show("admin.list_first_ms", first, "ms", **details)


def _queries() -> list[dict[str, object]]:
    """What people ask for: pages, searches, orders."""
    kinds: list[dict[str, object]] = [
        {"page": 100},
        {"search": "sensor 04"},
        {"search": "198.18.7."},
        {"sort": "-seen", "size": 200},
        {"search": uuid4().hex[:4], "state": "approved"},
    ]
    return [kinds[number % len(kinds)] for number in range(ASKED)]


def _ask(connection: http.client.HTTPSConnection, token: str, query: dict[str, object]) -> float:
    """Milliseconds to the first byte of an answer, which is read to its end."""
    time.sleep(PAUSE)
    began = time.perf_counter()
    headers = {"Authorization": f"Bearer {token}"}
    connection.request("GET", f"/api/v1/sensors?{urlencode(query)}", headers=headers)
    response = connection.getresponse()
    taken = (time.perf_counter() - began) * 1000
    content = response.read()
    if response.status != 200:
        sys.exit(f"the server answered {response.status}: {content.decode()}")
    return taken


if __name__ == "__main__":
    main()
