"""How much memory a process has for itself."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Memory(NamedTuple):
    """Megabytes (10^6 bytes) of memory that no other process shares (proc(5), smaps_rollup).

    ``private`` is all of it; pages of programs, libraries and the compiled trails are in it where this is
    the only process that uses them. ``anonymous`` are those that belong to no file.
    """

    private: float
    anonymous: float


def of_this_process() -> Memory:
    """The memory of this process now."""
    return of_process("self")


def of_process(pid: int | str) -> Memory:
    """The memory of a process now. Raises OSError where it may not be looked at."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    size = {line.split()[0]: int(line.split()[1]) * 1024 / 1e6 for line in lines}
    return Memory(size["Private_Clean:"] + size["Private_Dirty:"], size["Anonymous:"])
