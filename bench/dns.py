"""How fast d4-sensor judges names that it has never seen, on one core: figure ``sensor.dns_new``, queries/s.

The capture is of DNS queries alone, each for a new name: half of them below domains that others ask for
too, half of new domains. Reading the file is part of it, loading the trails is not. They are a few of its
own and those in the file or directory that the environment variable D4_TRAILS names; or, where that is a
compiled file (``.mdb``), those in it.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.figure import show
from bench.sensor import one_pass
from d4sensor import compiled, sources
from d4sensor.trails import Trails
from tests import frames

QUERIES = 300_000
ROUNDS = 3

BAD_NAMES = [f"evil{n}.d4-bench.invalid" for n in range(200)]
START = 1_790_000_000
"""Seconds since the epoch of the first query; one follows every five microseconds."""


def main() -> None:
    """Runs the benchmark."""
    with tempfile.TemporaryDirectory(prefix="d4-bench-") as directory:
        pcap, own = Path(directory, "dns.pcap"), Path(directory, "trails.txt")
        frames.write_pcap(pcap, queries(QUERIES))
        own.write_text("\n".join(BAD_NAMES))
        found = _trails(own, os.environ.get("D4_TRAILS", ""))
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        seconds, engine = min((one_pass(found, str(pcap)) for _ in range(ROUNDS)), key=lambda run: run[0])
    asked, events = engine.counts["dns_queries"], engine.counts["events"]
    show("sensor.dns_new", asked / seconds, "queries/s", queries=asked, events=events, trails=len(found))


def queries(count: int, seed: int = 5) -> Iterator[tuple[float, bytes]]:
    """``count`` queries with their times; three in a thousand ask for what is below a trail."""
    rng = random.Random(seed)
    domains = [f"{_word(rng)}.{rng.choice(('com', 'net', 'org'))}" for _ in range(4000)]
    for n in range(count):
        domain = f"{_word(rng)}{n}.com" if n % 2 else rng.choice(domains)
        if rng.random() < 0.003:
            domain = rng.choice(BAD_NAMES)
        client = f"10.0.{rng.randrange(4)}.{rng.randrange(1, 255)}"
        kind = rng.choice((frames.A, frames.A, frames.AAAA, frames.HTTPS))
        yield (
            START + n * 5e-6,
            frames.query(client, f"{_word(rng)}{n}.{domain}", kind, sport=1024 + n % 60000),
        )


def _word(rng: random.Random) -> str:
    return "".join(rng.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=rng.randrange(3, 9)))


def _trails(own: Path, others: str) -> Trails:
    """The trails to judge by."""
    if others.endswith(".mdb"):
        return compiled.open_(Path(others))
    return sources.load([*([others] if others else []), str(own)])[0]


if __name__ == "__main__":
    main()
