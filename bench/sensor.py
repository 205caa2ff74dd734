"""How fast d4-sensor judges a capture file on one core: figure ``sensor.offline``, packets/s.

Reading the file is part of it, loading the trails is not.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from bench import traffic
from bench.figure import show
from d4sensor import capture, trails
from d4sensor.engine import Engine

PACKETS = 500_000
ROUNDS = 3


def main() -> None:
    """Runs the benchmark, on a capture of its own or another, by its own trails and others."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pcap", metavar="FILE", help="judge this capture file")
    parser.add_argument(
        "--trails",
        metavar="PATH",
        action="append",
        default=[],
        help="look for the trails in this file or directory too",
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="d4-bench-") as directory:
        pcap = arguments.pcap or str(_generate(Path(directory)))
        own = Path(directory) / "trails.txt"
        own.write_text("\n".join(traffic.trail_lines()))
        start = time.perf_counter()
        found, _ = trails.load([*arguments.trails, str(own)])
        loading = time.perf_counter() - start
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        seconds, engine = min((_run(found, pcap) for _ in range(ROUNDS)), key=lambda run: run[0])
    packets, events = engine.counts["packets"], engine.counts["events"]
    details = {
        "packets": packets,
        "events": events,
        "trails": len(found),
        "loading_seconds": round(loading, 2),
    }
    show("sensor.offline", round(packets / seconds), "packets/s", **details)


def _generate(directory: Path) -> Path:
    path = directory / "traffic.pcap"
    traffic.write(path, PACKETS)
    return path


def _run(found: trails.Trails, pcap: str) -> tuple[float, Engine]:
    """The seconds that one pass over the file takes, and the engine behind it."""
    engine = Engine(found, "bench")
    source = capture.open_file(pcap)
    start = time.perf_counter()
    while (batch := source.read()) is not None:
        engine.judge(batch)
    seconds = time.perf_counter() - start
    source.close()
    return seconds, engine


if __name__ == "__main__":
    main()
