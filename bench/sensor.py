"""How fast d4-sensor judges a capture file on one core: figure ``sensor.offline``, packets/s.

Reading the file is part of it, loading the trails is not.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import traffic

from d4sensor import capture, trails
from d4sensor.engine import Engine

PACKETS = 500_000
ROUNDS = 3


def main() -> None:
    """Runs the benchmark, on a capture and on trails of its own or on those named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pcap", metavar="FILE", help="judge this capture file")
    parser.add_argument("--trails", metavar="PATH", help="by the trails in this file or directory")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="d4-bench-") as directory:
        pcap = arguments.pcap or str(_generate(Path(directory)))
        own = Path(directory) / "trails.txt"
        own.write_text("\n".join(traffic.trail_lines()))
        start = time.perf_counter()
        found, _ = trails.load([arguments.trails or str(own)])
        loading = time.perf_counter() - start
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        seconds, engine = min((_run(found, pcap) for _ in range(ROUNDS)), key=lambda run: run[0])
    figure = {
        "figure": "sensor.offline",
        "value": round(engine.counts["packets"] / seconds),
        "unit": "packets/s",
        "packets": engine.counts["packets"],
        "events": engine.counts["events"],
        "trails": len(found),
        "loading_seconds": round(loading, 2),
    }
    print(json.dumps(figure))


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
