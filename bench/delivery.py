"""From the sensor's outbox to the stream, through spool, TLS, server and Redis: events of 150 bytes.

The session is acknowledged, each commit to the spool and each append in Redis is on disk before it counts,
and each event is once in the stream. ``delivery.rate``: events/s of one sensor that takes them as fast as it
can, until the server has acknowledged the last one; ``delivery.cpu`` is what one of them takes of a core in
the sensor. ``delivery.latency_p99``: from put to being read from the stream, at 1,000 events/s.
``delivery.memory``: the most private memory of the shipping process while 1,000,000 events pile up, the
server being away, and while they are sent; ``delivery.backlog`` is how fast that goes.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis

from bench.figure import show
from bench.shipping import EVENTS, SIZE, TRICKLE
from d4common.compression import decompress
from d4common.records import partition, stream
from d4server.sensors import read_identity
from demo.chain import PYTHON, Chain, environment


def main() -> None:
    """Measures and prints."""
    # Not in /tmp, which may be memory.
    with tempfile.TemporaryDirectory(prefix="d4-bench-", dir="/var/tmp") as name, Chain(Path(name)) as chain:
        chain.exporter.stop()
        redis = Redis(unix_socket_path=str(chain.redis_socket))
        sensor = read_identity(chain.directory / "sensor.conf.d" / "10-identity.conf").uuid
        key = stream("maltrail", partition(sensor))
        measure_rate(chain, redis, key)
        measure_latency(chain, redis, key)
        measure_memory(chain, redis, key)


def measure_rate(chain: Chain, redis: Redis, key: str) -> None:
    """Events as fast as they are taken."""
    with shipping(chain, "rate") as sensor:
        pass
    result = result_of(sensor)
    check(redis, key, EVENTS + 1)
    show("delivery.rate", EVENTS / result["seconds"], "events/s", acknowledged=True, cores=os.cpu_count())
    show("delivery.cpu", result["cpu"] / EVENTS * 1e6, "us/event")


def measure_latency(chain: Chain, redis: Redis, key: str) -> None:
    """Events at an even pace."""
    with shipping(chain, "trickle") as sensor:
        delays = sorted(arriving(redis, key, TRICKLE))
    result_of(sensor)
    check(redis, key, TRICKLE)
    half, most = delays[len(delays) // 2], delays[len(delays) * 99 // 100]
    show(
        "delivery.latency_p99", most * 1000, "ms", p50=round(half * 1000, 3), max=round(delays[-1] * 1000, 3)
    )


def measure_memory(chain: Chain, redis: Redis, key: str) -> None:
    """Events that pile up, and are sent in the end."""
    chain.server.stop()
    with shipping(chain, "fill") as sensor:
        pass
    show("delivery.memory", result_of(sensor)["memory"], "MB", of="filling", events=EVENTS)
    chain.server.start()
    with shipping(chain, "empty") as sensor:
        pass
    result = result_of(sensor)
    check(redis, key, EVENTS)
    show("delivery.memory", result["memory"], "MB", of="emptying", events=EVENTS)
    show("delivery.backlog", EVENTS / result["seconds"], "events/s")


@contextmanager
def shipping(chain: Chain, what: str) -> Iterator[subprocess.Popen[str]]:
    """The shipping side of a sensor, in a process of its own, to its end."""
    command = [PYTHON, "-m", "bench.shipping", str(chain.directory / "sensor.conf"), what]
    sensor = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)
    try:
        yield sensor
        sensor.wait()
    finally:
        sensor.kill()


def result_of(sensor: subprocess.Popen[str]) -> dict[str, float]:
    """What a process of bench.shipping has printed."""
    printed, _ = sensor.communicate()
    if sensor.returncode:
        raise SystemExit("bench.shipping failed")
    result: dict[str, float] = json.loads(printed)
    return result


def arriving(redis: Redis, key: str, events: int) -> Iterator[float]:
    """The age in seconds of each event as it comes to be in the stream."""
    last = "0"
    while events:
        for _, entries in redis.xread({key: last}, block=10_000):
            now, last = time.time_ns(), entries[-1][0]
            times = [int(line) for _, fields in entries for line in decompress(fields).splitlines()]
            events -= len(times)
            yield from ((now - put) / 1e9 for put in times)


def check(redis: Redis, key: str, events: int) -> None:
    """Ends the process unless the stream has as many events, no more and no less; empties it."""
    found = sum(len(decompress(fields)) for _, fields in redis.xrange(key)) // SIZE
    if found != events:
        raise SystemExit(f"the stream has {found} events, not {events}")
    redis.xtrim(key, maxlen=0, approximate=False)


if __name__ == "__main__":
    main()
