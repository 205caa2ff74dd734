"""Machines with a real systemd that the system tests boot, install packages on and talk to."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zlib import crc32

TREE = Path(__file__).resolve().parents[2]
LAB = Path(__file__).parent / "lab"
BUILD = TREE / "build" / "lab"
DIST = TREE / "dist"
ROOT = BUILD / "rootfs"

NETWORK = f"d4-lab-{crc32(str(TREE).encode()):08x}"
"""What the names of this tree's network namespaces begin with."""


class Failed(Exception):
    """A command did not succeed; the message holds all that it said."""


def run(*command: str | Path, input: str | bytes = b"") -> str:
    """What a command prints on standard output. Raises Failed with all that it said."""
    environment = {**os.environ, "LAB": str(BUILD / "machines")}
    data = input.encode() if isinstance(input, str) else input
    result = subprocess.run(command, input=data, capture_output=True, env=environment)
    output, errors = result.stdout.decode(errors="replace"), result.stderr.decode(errors="replace")
    if result.returncode:
        raise Failed(f"{' '.join(map(str, command))}: exit status {result.returncode}\n{output}{errors}")
    return output


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Waits until no process that tests this tree has what is called so, and has it meanwhile."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with open(BUILD / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Machine:
    """One machine, fresh from the root file system; a context manager that boots and removes it.

    It has the interfaces of ``role`` in the network of tests/system/lab/network, or none. Its journal
    stays, in build/lab/NAME.journal.
    """

    def __init__(self, name: str, role: str | None = None) -> None:
        self.name = name
        self._network = [f"{NETWORK}-{role}"] if role else []
        self._alone = ExitStack()

    def __enter__(self) -> Machine:
        with ExitStack() as stack:
            stack.enter_context(alone(self.name))
            run(LAB / "machine", "up", self.name, ROOT, *self._network)
            self._alone = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with self._alone:
            with suppress(Failed):
                journal = self.run("journalctl", "--no-pager", "--output", "short-monotonic")
                (BUILD / f"{self.name}.journal").write_text(journal)
            run(LAB / "machine", "down", self.name)

    def run(self, *command: str, input: str | bytes = b"") -> str:
        """What a command prints inside, as root. Raises Failed."""
        return run(LAB / "machine", "run", self.name, *command, input=input)

    def reboot(self) -> None:
        """Returns when it has booted again."""
        run(LAB / "machine", "reboot", self.name)

    def write(self, path: str, content: str | bytes) -> None:
        """Makes a file, and the directories above it."""
        self.run("sh", "-c", 'mkdir -p "$(dirname "$1")"; cat > "$1"', "sh", path, input=content)

    def install(self, packages: str) -> str:
        """What `apt-get install` says; ``packages`` are names, or patterns of files in dist/."""
        archive = subprocess.run(["tar", "-C", DIST, "-c", "."], check=True, capture_output=True).stdout
        self.run("sh", "-c", "mkdir -p /srv/d4; tar -C /srv/d4 -x", input=archive)
        self.run("apt-get", "update")
        install = "DEBIAN_FRONTEND=noninteractive apt-get install --yes"
        return self.run("sh", "-c", f"cd /srv/d4; {install} {packages}")

    def units(self) -> dict[str, str]:
        """The project's loaded units, and the state of each (``active``, ``failed``, …)."""
        listing = self.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "d4-*", "maltrail-*")
        rows = (line.split(None, 4) for line in listing.splitlines())
        return {unit: active for unit, _, active, *_ in rows}

    def events(self, password: str) -> list[str]:
        """The events of the last two days, as the collector on this machine gives them to tools."""
        today = datetime.now(UTC).date()
        lines: list[str] = []
        for day in (today - timedelta(days=1), today):
            url = f"http://127.0.0.1:8338/events?date={day}"
            lines += self.run("curl", "-sSf", "--user", f"admin:{password}", url).splitlines()
        return lines
