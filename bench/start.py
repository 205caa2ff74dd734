"""A sensor that bench.trails measures: ``python -m bench.start COMPILED CAPTURE``.

Judges the capture by the compiled trails; prints when the first packets were judged, in seconds since the
epoch, and the private and the anonymous memory in MB in the end, once what is free is given back, as the
daemon does every few seconds. It imports all that the daemon does, and nothing that only tests and
benchmarks need.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import d4sensor.__main__  # noqa: F401 (all that the daemon imports)
from bench import memory
from d4common import malloc
from d4sensor import compiled
from d4sensor.capture import open_file
from d4sensor.engine import Engine


def main(trails: Path, capture: str) -> None:
    """Judges and prints."""
    malloc.keep_buffers()
    engine = Engine(compiled.open_(trails), "bench")
    source = open_file(capture)
    first = 0.0
    while (batch := source.read()) is not None:
        engine.judge(batch)
        first = first or time.time()
    malloc.give_back()
    print(first, *memory.of_this_process())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
