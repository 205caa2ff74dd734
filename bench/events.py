"""Events for benchmarks, as different from one another as real ones: the same ones for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator

from d4common.event import Event

INFOS = ("cobaltstrike (malware)", "known attacker", "mass scanner", "phishing", "suspicious domain")


def lines(count: int, seed: int = 6) -> Iterator[bytes]:
    """``count`` events as lines, each of about 150 bytes and some microseconds after the last."""
    rng = random.Random(seed)
    names = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(6, 16))) for _ in range(2000)]
    for number in range(count):
        sec, usec = divmod(number * 1117 + rng.randrange(1000), 1_000_000)
        event = Event(
            *(1_790_000_000 + sec, usec, f"sensor{rng.randrange(3)}"),
            *(
                f"10.{rng.randrange(4)}.{rng.randrange(256)}.{rng.randrange(256)}",
                str(rng.randrange(1024, 65536)),
            ),
            *(f"198.51.{rng.randrange(100)}.{rng.randrange(256)}", "53", "UDP", "DNS"),
            *(f"(www).{rng.choice(names)}.invalid", rng.choice(INFOS), "(static)"),
        )
        yield event.wire()
