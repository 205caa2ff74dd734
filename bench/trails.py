"""What 1.6 million trails cost a sensor that starts with them, compiled.

Figures: ``sensor.start``, seconds from exec until the first packets are judged; ``sensor.memory``, MB of
private memory behind a capture of 500,000 packets; ``trails.compile``, seconds that compiling takes.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import traffic
from bench.figure import show

TRAILS = 1_600_000
PACKETS = 500_000
ROUNDS = 5


def main() -> None:
    """Runs the benchmark, with trails of its own making or others; with FILES, a sensor that it measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trails", metavar="PATH", type=Path, help="compile this file or directory")
    parser.add_argument(
        "--sensor", nargs=2, type=Path, metavar=("COMPILED", "CAPTURE"), help=argparse.SUPPRESS
    )
    arguments = parser.parse_args()
    if arguments.sensor:
        _sensor(*arguments.sensor)
        return
    with tempfile.TemporaryDirectory(prefix="d4-bench-") as name:
        _measure(Path(name), arguments.trails)


def _measure(directory: Path, trails: Path | None) -> None:
    from d4sensor import update
    from d4sensor.config import Trails as Settings

    compiled, capture = directory / "trails.mdb", directory / "traffic.pcap"
    source = trails or _generate(directory / "trails.txt")
    settings = Settings(path=(source.absolute(),), feeds=(), whitelist=(), user_agents=(), compiled=compiled)
    begin = time.perf_counter()
    count = update.update(settings, offline=True).trails
    show("trails.compile", time.perf_counter() - begin, "s", trails=count)
    traffic.write(capture, PACKETS)
    runs = [_run(compiled, capture) for _ in range(ROUNDS)]
    show("sensor.start", min(start for start, _ in runs), "s", trails=count)
    show("sensor.memory", max(memory for _, memory in runs), "MB", trails=count, packets=PACKETS)


def _run(compiled: Path, capture: Path) -> tuple[float, float]:
    """Seconds from exec to the first packet, and MB of private memory in the end, of a new process."""
    command = [sys.executable, "-m", "bench.trails", "--sensor", str(compiled), str(capture)]
    begin = time.time()
    judged, memory = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(judged) - begin, float(memory)


def _sensor(trails: Path, capture: Path) -> None:
    """Judges a capture; prints when the first packets were, and the private memory in MB in the end."""
    import d4sensor.__main__  # noqa: F401 (all that the daemon imports)
    from d4sensor import compiled
    from d4sensor.capture import open_file
    from d4sensor.engine import Engine

    engine = Engine(compiled.open_(trails), "bench")
    source = open_file(str(capture))
    first = 0.0
    while (batch := source.read()) is not None:
        engine.judge(batch)
        first = first or time.time()
    print(first, _private())


def _private() -> float:
    """The memory, in MB, that is this process's alone (proc(5), smaps_rollup)."""
    rows = (line.split() for line in Path(f"/proc/{os.getpid()}/smaps_rollup").read_text().splitlines())
    return sum(int(row[1]) for row in rows if row[0].startswith("Private_")) / 1000


def _generate(path: Path) -> Path:
    """A file of trails: names, endpoints, addresses and paths, as many of each as Maltrail has."""
    chance = random.Random(1)
    with path.open("w") as file:
        for number in range(TRAILS):
            address = ".".join(str(chance.randrange(1, 255)) for _ in range(4))
            kinds = (
                f"{chance.getrandbits(50):x}.{number % 997:x}.tld",
                f"{address}:{chance.randrange(1, 65536)}",
            )
            kinds += (address, f"/{chance.getrandbits(40):x}/gate.php")
            file.write(chance.choices(kinds, (72, 18, 2, 8))[0] + "\n")
    return path


if __name__ == "__main__":
    main()
