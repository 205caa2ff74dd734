"""The system tests need root, systemd-nspawn and the packages in dist/; without them they are skipped."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator

import pytest
from system.machines import BUILD, DIST, LAB, NETWORK, ROOT, run


def reason_to_skip() -> str | None:
    """What this machine lacks for the system tests."""
    if os.geteuid() != 0:
        return "system tests boot machines: run them as root"
    for command in ("systemd-nspawn", "mmdebstrap", "apt-ftparchive", "ip", "tcpreplay"):
        if not shutil.which(command):
            return f"{command} is not installed: packaging/dependencies system installs it"
    if not (DIST / "Packages").exists():
        return "no packages in dist/: `make build` makes them"
    return None


@pytest.fixture(scope="session", autouse=True)
def root() -> Iterator[None]:
    """A root file system that machines can boot from, and none left of those that a killed run has booted."""
    reason = reason_to_skip()
    if reason:
        pytest.skip(reason)
    BUILD.mkdir(parents=True, exist_ok=True)
    with open(BUILD / "lock", "w") as lock:  # one test run at a time
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in (BUILD / "machines").glob("*"):
            run(LAB / "machine", "kill", left.name)
        run(LAB / "rootfs", ROOT, DIST)
        yield


@pytest.fixture(scope="session")
def network(root: None) -> Iterator[None]:
    """The network of tests/system/lab/network."""
    run(LAB / "network", "up", NETWORK)
    yield
    run(LAB / "network", "down", NETWORK)
