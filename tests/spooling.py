"""Spools for tests."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from d4common.outbox import Numbered
from d4sensor.salvage import open_spool
from d4sensor.spool import Packed, Spool

META_HEADER = {"type": "maltrail"}

PROMISING = """
import sys
from pathlib import Path
from spooling import opened, packed

spool = opened(Path(sys.argv[1]))
while True:
    first = spool.about.next
    packets = spool.append([packed(number) for number in range(first, first + 7)], position=str(first + 6))
    spool.acknowledge(first - 50)
    print(packets[-1].number, spool.about.first, flush=True)
"""


def opener(path: Path, most_bytes: int = 1 << 30, most_age: int = 1 << 40) -> Callable[[], Spool]:
    """What opens a spool of events."""
    return partial(open_spool, path, 254, META_HEADER, most_bytes, most_age)


def opened(path: Path, most_bytes: int = 1 << 30, most_age: int = 1 << 40) -> Spool:
    """An open spool of events."""
    return opener(path, most_bytes, most_age)()


def payload(number: int) -> bytes:
    """What packet ``number`` has in a test: one line of 150 to 4,000 bytes, no two of them alike."""
    return f"{number:0{150 + number * 977 % 3850}d}\n".encode()


def packed(number: int) -> Packed:
    """Packet ``number``, made at second 1,700,000,000 + number."""
    return Packed(1_700_000_000 + number, 1, payload(number))


def waiting(spool: Spool) -> list[Numbered]:
    """All packets that wait."""
    return spool.read(0, 1 << 40)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file of this process can grow beyond so many bytes: a full disk, as it looks from here."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        signal.signal(signal.SIGXFSZ, handler)


def start(script: str, path: Path) -> subprocess.Popen[str]:
    """A process that runs a script of Python with the path of a spool, and all that tests can import."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, str(path)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def start_promising(path: Path) -> subprocess.Popen[str]:
    """A process that appends packets and prints the last number, and the first that waits, of each commit."""
    return start(PROMISING, path)


def kill(process: subprocess.Popen[str]) -> str:
    """Kills a process; returns what it had still printed."""
    process.kill()
    printed, _ = process.communicate()
    return printed
