"""What 1.6 million trails cost a sensor that starts with them, compiled.

Figures: ``sensor.start``, seconds from exec until the first packets are judged; ``sensor.memory``, MB of
private memory behind a capture of 500,000 packets; ``trails.compile``, seconds that compiling takes. Python
finds its bytecode, as it does where the package is installed.
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
from bench.memory import Memory
from d4sensor import update
from d4sensor.config import Trails as Settings

TRAILS = 1_600_000
PACKETS = 500_000
ROUNDS = 5


def main() -> None:
    """Runs the benchmark, with trails of its own making or others; with FILES, a sensor that it measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trails", metavar="PATH", type=Path, help="compile this file or directory")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="d4-bench-") as name:
        _measure(Path(name), arguments.trails)


def _measure(directory: Path, trails: Path | None) -> None:
    compiled, capture = directory / "trails.mdb", directory / "traffic.pcap"
    source = trails or _generate(directory / "trails.txt")
    settings = Settings(path=(source.absolute(),), feeds=(), whitelist=(), user_agents=(), compiled=compiled)
    begin = time.perf_counter()
    count = update.update(settings, offline=True).trails
    show("trails.compile", time.perf_counter() - begin, "s", trails=count)
    traffic.write(capture, PACKETS)
    bytecode = directory / "bytecode"
    _run(compiled, capture, bytecode)
    runs = [_run(compiled, capture, bytecode) for _ in range(ROUNDS)]
    show("sensor.start", min(start for start, _ in runs), "s", trails=count)
    most = max(memory for _, memory in runs)
    show(
        "sensor.memory", most.private, "MB", anonymous=round(most.anonymous, 3), trails=count, packets=PACKETS
    )


def _run(compiled: Path, capture: Path, bytecode: Path) -> tuple[float, Memory]:
    """Seconds from exec to the first packets, and the memory in the end, of a new process.

    The first run writes the modules' bytecode, which the others find.
    """
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(bytecode)}
    command = [sys.executable, "-m", "bench.start", str(compiled), str(capture)]
    begin = time.time()
    told = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    judged, private, anonymous = map(float, told.split())
    return judged - begin, Memory(private, anonymous)


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
