"""The system tests need root, systemd-nspawn and the packages in dist/; without them they are skipped."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from system.machines import DIST, LAB, NETWORK, ROOT, alone, run


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
def root() -> None:
    """A root file system that machines can boot from."""
    reason = reason_to_skip()
    if reason:
        pytest.skip(reason)
    with alone(ROOT.name):
        run(LAB / "rootfs", ROOT, DIST)


@pytest.fixture(scope="module")
def network(root: None) -> Iterator[None]:
    """The network of tests/system/lab/network."""
    with alone(NETWORK):
        run(LAB / "network", "up", NETWORK)
        yield
        run(LAB / "network", "down", NETWORK)
