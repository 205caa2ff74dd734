"""Whether a sensor grows: one engine that judges the same capture over and over, for an hour or so.

Each pass happens STEP seconds of the packets' time later than the one before it, so that windows end and what
was seen grows old. Figure ``sensor.growth``: MB of anonymous memory that it has more in the end than after
WARM_UP passes. How much it has is told on standard error meanwhile.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench import memory, traffic
from bench.figure import show
from d4common import malloc
from d4sensor import capture, loading
from d4sensor.capture import Batch
from d4sensor.config import SensorConfig
from d4sensor.engine import Engine

PACKETS = 500_000
STEP = 10
WARM_UP = 10
REPORTS = 20


def main() -> None:
    """Judges and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60, help="how long (60)")
    parser.add_argument("--pcap", metavar="FILE", help="judge this capture file")
    parser.add_argument("--trails", metavar="PATH", type=Path, help="look for these trails; may be compiled")
    arguments = parser.parse_args()
    malloc.keep_buffers()
    with tempfile.TemporaryDirectory(prefix="d4-bench-") as name:
        own = Path(name) / "trails.txt"
        own.write_text("\n".join(traffic.trail_lines()))
        pcap = arguments.pcap or _generate(Path(name) / "traffic.pcap")
        trails, _ = loading.load_paths(SensorConfig().trails, [arguments.trails or own])
        sizes = _soak(Engine(trails, "bench"), pcap, arguments.minutes * 60)
    few = max(1, len(sizes) // 10)
    growth = min(sizes[-few:]) - min(sizes[:few])
    show("sensor.growth", growth, "MB", minutes=arguments.minutes, passes=WARM_UP + len(sizes))


def _soak(engine: Engine, pcap: str, seconds: float) -> list[float]:
    """The anonymous memory in MB after each pass behind the first WARM_UP; there is one at least."""
    begin = time.monotonic()
    sizes: list[float] = []
    passes, next_report = 0, 0.0
    while not sizes or time.monotonic() - begin < seconds:
        for batch in _later(pcap, passes * STEP):
            engine.judge(batch)
        passes += 1
        now = memory.of_this_process().anonymous
        if passes > WARM_UP:
            sizes.append(now)
        elapsed = time.monotonic() - begin
        if elapsed >= next_report:
            next_report = elapsed + seconds / REPORTS
            print(f"{elapsed:5.0f} s, {passes:5} passes, {now:6.1f} MB", file=sys.stderr)
    return sizes


def _later(pcap: str, seconds: int) -> Iterator[Batch]:
    """The packets of a capture file, so much later than they were."""
    source = capture.open_file(pcap)
    while (batch := source.read()) is not None:
        yield batch._replace(meta=batch.meta + np.array((seconds, 0, 0, 0), dtype=np.uint32))
    source.close()


def _generate(path: Path) -> str:
    traffic.write(path, PACKETS)
    return str(path)


if __name__ == "__main__":
    main()
