"""A file that is being read, and the place in it up to which it was taken in."""

from __future__ import annotations

import os
import stat
import time
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

from d4sensor.source import SourceError

HEAD = 1024
"""Bytes at the beginning of a file by which it is known again."""


@dataclass(frozen=True)
class Place:
    """``offset`` bytes into a file. ``head`` is the CRC-32 of the first HEAD of these bytes.

    The device is not in it: after a boot its number may be another one.
    """

    inode: int
    offset: int = 0
    head: int = 0

    def __str__(self) -> str:
        return f"{self.inode} {self.offset} {self.head}"

    @classmethod
    def parse(cls, text: str) -> Place:
        """What str() gave. Raises ValueError."""
        inode, offset, head = map(int, text.split())
        return cls(inode, offset, head)


class OpenFile:
    """A regular file, which may get another name or be removed meanwhile."""

    def __init__(self, path: Path) -> None:
        """Raises OSError; SourceError where it is something else than a regular file."""
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        self.opened = time.monotonic()
        found = os.fstat(self._descriptor)
        self._device = found.st_dev
        self.start = Place(found.st_ino)
        if not stat.S_ISREG(found.st_mode):
            self.close()
            raise SourceError(f"{path} is not a regular file")

    def read(self, offset: int, most: int) -> bytes:
        """What stands at ``offset``, ``most`` bytes of it; b"" at the end of the file."""
        return os.pread(self._descriptor, most, offset)

    def place(self, offset: int) -> Place:
        """The place behind so many bytes."""
        return replace(self.start, offset=offset, head=self._head(offset))

    def is_file(self, found: os.stat_result) -> bool:
        """Whether this is the file that stat(2) has found."""
        return (found.st_dev, found.st_ino) == (self._device, self.start.inode)

    def is_at(self, place: Place) -> bool:
        """Whether this is the file of ``place``."""
        return place.inode == self.start.inode

    def still_has(self, place: Place, more: int) -> bool:
        """Whether what was read, up to ``more`` bytes behind ``place``, is still there."""
        size = os.fstat(self._descriptor).st_size
        return place.offset + more <= size and place.head == self._head(place.offset)

    def close(self) -> None:
        """Closes it."""
        os.close(self._descriptor)

    def _head(self, offset: int) -> int:
        return zlib.crc32(self.read(0, min(offset, HEAD)))
