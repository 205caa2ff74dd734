"""Compressed capture files: another process unpacks them into a pipe, which libpcap reads as a file."""

from __future__ import annotations

import os
import re
from subprocess import PIPE, Popen

UNPACKERS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ\0": "xz"}
"""The command for each format, by what its files begin with."""


class Unpacked:
    """A compressed file being unpacked. ``path`` is where the contents are read, once."""

    def __init__(self, packed: str, command: str) -> None:
        """Raises FileNotFoundError where the command is not installed."""
        with open(packed, "rb") as file:
            self._process = Popen([command, "-dcq"], stdin=file, stdout=PIPE, stderr=PIPE)
        assert self._process.stdout
        self.path = f"/dev/fd/{self._process.stdout.fileno()}"
        self._command = command

    def close(self) -> str:
        """Ends it, and says what was wrong with the file up to here; empty where nothing was."""
        self._process.kill()
        _, said = self._process.communicate()
        lines = said.decode("utf-8", "replace").strip().splitlines()
        return f"{self._command}: {_BEFORE.sub('', lines[0])}" if lines else ""


def unpacker(path: str) -> str | None:
    """The command that unpacks a file; None for what is not compressed, no file, or not to be read."""
    if not os.path.isfile(path):
        return None
    try:
        with open(path, "rb") as file:
            first = file.read(max(map(len, UNPACKERS)))
    except OSError:
        return None
    return next((command for magic, command in UNPACKERS.items() if first.startswith(magic)), None)


# How the commands begin a message: with their own name or not, and that of the file.
_BEFORE = re.compile(r"^.*stdin\W*")
