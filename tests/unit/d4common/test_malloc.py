"""What malloc does with memory that is free again."""

from __future__ import annotations

import subprocess
import sys

from demo.chain import environment

BATCHES = """
import resource, sys
from pathlib import Path
import numpy as np
from d4common import malloc

def batch():
    return sum(column.sum() for column in [np.ones(1 << 18) for _ in range(4)])

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def megabytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6

if "keep" in sys.argv:
    malloc.keep_buffers()
batch()
before = faults()
for _ in range(20):
    batch()
faulted, kept = faults() - before, megabytes()
malloc.give_back()
print(faulted, kept - megabytes())
"""


def measured(*arguments: str) -> tuple[int, float]:
    """The page faults of 20 batches of 8 MB behind a first one, and the MB that are given back then."""
    command = [sys.executable, "-c", BATCHES, *arguments]
    told = subprocess.run(
        command, env=environment(), check=True, capture_output=True, text=True
    ).stdout.split()
    return int(told[0]), float(told[1])


def test_buffers_of_a_batch_are_kept_until_they_are_given_back() -> None:
    (faults, kept), (otherwise, _) = measured("keep"), measured()
    assert faults < otherwise / 10
    assert kept > 7
