"""The log: a file per day, ``YYYY-MM-DD.log``, in Maltrail's own format, for all tools that read it."""

from __future__ import annotations

import logging
import os
import re
import time
from functools import lru_cache
from pathlib import Path

from d4common.journal import Repeats

log = logging.getLogger(__name__)

MODE = 0o640
MOST_WAITING = 64 << 20
"""Bytes that are kept in memory while they cannot be written."""
PAUSE = 1.0
"""Seconds between attempts to write after one has failed."""

_NAME = re.compile(r"\d{4}-\d\d-\d\d\.log")


@lru_cache(maxsize=4096)
def day_of(sec: int) -> str:
    """The local day, YYYY-MM-DD, of a time in seconds since the epoch."""
    return time.strftime("%Y-%m-%d", time.localtime(sec))


def path_of(directory: Path, day: str) -> Path:
    """The log of a day."""
    return directory / f"{day}.log"


def days(directory: Path) -> list[str]:
    """The days that have a log, the latest first."""
    names = (path.name for path in directory.glob("*.log"))
    return sorted((name[:10] for name in names if _NAME.fullmatch(name)), reverse=True)


class DayLog:
    """Appends lines to the logs in ``directory``.

    What cannot be written, since the disk is full, say, is kept and tried again, up to ``most`` bytes; what
    comes beyond that is lost, and counted in ``lost`` (lines).
    """

    def __init__(self, directory: Path, most: int = MOST_WAITING) -> None:
        self.lost = 0
        self._directory = directory
        self._most = most
        self._waiting: dict[str, bytearray] = {}
        self._size = 0
        self._retry_at = 0.0
        self._touched: set[str] = set()
        self._complaints = Repeats()

    def append(self, day: str, lines: list[bytes]) -> bool:
        """Writes lines (without their line feed) to the log of ``day`` in one piece, or keeps them.

        False: there is no more room to keep them, and they are lost.
        """
        text = b"\n".join(lines) + b"\n"
        if self._size + len(text) > self._most:
            self.lost += len(lines)
            return False
        self._waiting.setdefault(day, bytearray()).extend(text)
        self._size += len(text)
        if time.monotonic() >= self._retry_at:
            self.flush()
        return True

    def flush(self) -> None:
        """Writes what is waiting."""
        self._retry_at = 0.0
        for day in list(self._waiting):
            try:
                self._write(day)
            except OSError as error:
                self._retry_at = time.monotonic() + PAUSE
                self._complain(day, error)

    def close(self) -> None:
        """Writes what is waiting and has the disk take all that was written."""
        self.flush()
        if self._size:
            log.error("%d bytes of events could not be written and are lost", self._size)
        for day in self._touched:
            try:
                self._sync(day)
            except FileNotFoundError:
                pass  # somebody has moved it away
            except OSError as error:
                self._complain(day, error)

    def _write(self, day: str) -> None:
        """Writes what waits for ``day``, keeping the rest of it if the disk takes only a part.

        The file is opened each time, so that one who moves or removes it needs to tell nobody.
        """
        waiting = self._waiting[day]
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        fd = os.open(path_of(self._directory, day), flags, MODE)
        try:
            if day not in self._touched:
                _end_last_line(fd)
                self._touched.add(day)
            while waiting:
                written = os.write(fd, waiting)
                del waiting[:written]
                self._size -= written
        finally:
            os.close(fd)
        del self._waiting[day]

    def _sync(self, day: str) -> None:
        fd = os.open(path_of(self._directory, day), os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.fdatasync(fd)
        finally:
            os.close(fd)

    def _complain(self, day: str, error: OSError) -> None:
        if self._complaints.held_back("write") is not None:
            path = path_of(self._directory, day)
            log.error(
                "%s cannot be written: %s; %d bytes wait in memory, %d events are lost",
                *(path, error.strerror, self._size, self.lost),
            )


def _end_last_line(fd: int) -> None:
    """Ends a line that a crash cut off, so that the next one begins on its own."""
    size = os.fstat(fd).st_size
    if size and os.pread(fd, 1, size - 1) != b"\n":
        os.write(fd, b"\n")
