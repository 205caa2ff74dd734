"""A small disk that can be filled to the last byte."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType


class Disk:
    """A file system of ``size`` bytes at ``path``, for processes that are started with ``runner``.

    It is mounted in a mount namespace of its own (mount_namespaces(7)), which is gone with the test, however
    that ends. For root. A context manager.
    """

    def __init__(self, size: int) -> None:
        self._directory = TemporaryDirectory(prefix="disk-")
        self.path = Path(self._directory.name)
        mount = f"mount -t tmpfs -o size={size} tmpfs {self.path} && echo mounted && read line"
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", mount], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"mounted\n"
        self.runner = ("nsenter", "--mount", f"--target={self._holder.pid}")
        self._filler = Path(f"/proc/{self._holder.pid}/root{self.path}/filler")

    def __enter__(self) -> Disk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._holder.communicate(b"\n")
        self._directory.cleanup()

    def fill(self, free: int = 0) -> None:
        """Leaves so many bytes free, whoever else writes meanwhile."""
        with self._filler.open("wb") as file:
            while (room := self._free() - free) > 0:
                with suppress(OSError):
                    os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size + room)

    def empty(self) -> None:
        """Makes room again."""
        self._filler.unlink()

    def _free(self) -> int:
        status = os.statvfs(self._filler.parent)
        return status.f_bavail * status.f_frsize
