"""How fast d4-sensor judges a capture file on one core: figure ``sensor.offline``, packets/s.

Reading the file is part of it, loading the trails is not. As root, figure ``sensor.live`` as well; see
bench.live.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import traffic
from bench.figure import show
from d4common import malloc
from d4sensor import capture, compiled, sources
from d4sensor.compiled import Contents
from d4sensor.engine import Engine
from d4sensor.merge import merge
from d4sensor.trails import Trails

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
        paths = [*arguments.trails, str(own)]
        compiled_file = Path(directory) / "trails.mdb"
        found = _compile(paths, compiled_file)
        if os.geteuid() == 0:
            live = [sys.executable, "-m", "bench.live", pcap, str(compiled_file)]
            subprocess.run(["unshare", "--net", *live])
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        seconds, engine = min((one_pass(found, pcap) for _ in range(ROUNDS)), key=lambda run: run[0])
    packets, events = engine.counts["packets"], engine.counts["events"]
    details = {
        "packets": packets,
        "events": events,
        "trails": len(found),
    }
    show("sensor.offline", round(packets / seconds), "packets/s", **details)


def _compile(paths: list[str], path: Path) -> Trails:
    """The trails in these files and directories, as a sensor has them: compiled."""
    compiled.write(path, Contents(merge(sources.read(paths, [])), [], [], {}))
    return compiled.open_(path)


def _generate(directory: Path) -> Path:
    path = directory / "traffic.pcap"
    traffic.write(path, PACKETS)
    return path


def one_pass(found: Trails, pcap: str) -> tuple[float, Engine]:
    """The seconds that one pass over the file takes, and the engine behind it."""
    malloc.keep_buffers()
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
