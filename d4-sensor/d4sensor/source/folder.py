"""The files that others put into a folder: each is given once, when it is complete.

What has been given is remembered by inode, size and time of change, for as long as it lies in the folder;
a file that changes afterwards is given again, as a whole.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from d4common.journal import Repeats
from d4sensor.source import Intake, SourceError
from d4sensor.source.cutting import Cutter

log = logging.getLogger(__name__)

POLL = 1.0
"""Seconds between looks at the folder."""

AT_ONCE = 1 << 18
"""Bytes that are read at once."""

MOST = 10_000
"""Files that have been read and may lie there: which they are goes to the disk with all that is read."""


class Found(NamedTuple):
    """A file in the folder, changed at a time in ns since the epoch; ``mark`` is of this state of it."""

    changed: int
    path: Path
    mark: str


@dataclass
class Progress:
    """Which files were given, by their marks, and of the one ``reading`` how many bytes."""

    done: list[str] = field(default_factory=list)
    reading: str = ""
    offset: int = 0

    def __str__(self) -> str:
        return json.dumps(vars(self), separators=(",", ":"))

    @classmethod
    def parse(cls, text: str | None) -> Progress:
        """What str() gave."""
        return cls(**json.loads(text)) if text else cls()


class Folder:
    """Gives the files in ``path`` that have not changed for ``settle`` seconds, the oldest first.

    Those whose names begin with a dot are left alone, and so are sub-folders.
    """

    def __init__(self, path: Path, settle: float, cutter: Cutter, only_new: bool = False) -> None:
        """With ``only_new``, what lies there at the start is left alone as well."""
        self._path = path
        self._settle = settle
        self._cutter = cutter
        self._only_new = only_new
        self._since: dict[str, float] = {}
        """When each file was first seen in its present state, by its mark."""
        self._repeats = Repeats()

    async def run(self, intake: Intake) -> None:
        """Gives what lies there, and what comes. Raises SourceError where the folder cannot be read."""
        progress = Progress.parse(intake.position)
        if self._only_new:
            progress.done = [file.mark for file in self._found()]
        while True:
            found = sorted(self._found())
            present = {file.mark for file in found}
            progress.done = [mark for mark in progress.done if mark in present]
            for file in self._complete(found, set(progress.done)):
                if len(progress.done) >= MOST:
                    self._say(f"{self._path} holds {MOST} files that have been read; remove them")
                    break
                await self._give(file, progress, intake)
            await asyncio.sleep(POLL)

    def _found(self) -> Iterator[Found]:
        try:
            paths = [path for path in self._path.iterdir() if not path.name.startswith(".")]
        except OSError as error:
            raise SourceError(f"{self._path} cannot be read as a folder: {error.strerror}") from None
        for path in paths:
            try:
                status = path.stat()
            except OSError:
                continue  # it has just been removed
            if stat.S_ISREG(status.st_mode):
                state = f"{status.st_ino} {status.st_size} {status.st_mtime_ns}"
                yield Found(status.st_mtime_ns, path, blake2b(state.encode(), digest_size=8).hexdigest())

    def _complete(self, found: list[Found], done: set[str]) -> list[Found]:
        """Those that are not done, and have been as they are for long enough."""
        now = time.monotonic()
        self._since = {file.mark: self._since.get(file.mark, now) for file in found}
        return [
            file for file in found if file.mark not in done and now - self._since[file.mark] >= self._settle
        ]

    async def _give(self, file: Found, progress: Progress, intake: Intake) -> None:
        """Gives a file, from where an earlier process came to."""
        if progress.reading != file.mark:
            progress.reading, progress.offset = file.mark, 0
        try:
            descriptor = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            self._say(f"{file.path} cannot be read: {error.strerror}")
            return
        try:
            while data := os.pread(descriptor, AT_ONCE, progress.offset + self._cutter.held):
                end = progress.offset + self._cutter.held + len(data)
                records = self._cutter.receive(data)
                progress.offset = end - self._cutter.held
                await intake.put_all(records, str(progress))
        finally:
            os.close(descriptor)
        progress.done.append(file.mark)
        progress.reading, progress.offset = "", 0
        await intake.put_all(self._cutter.finish(), str(progress))

    def _say(self, text: str) -> None:
        if self._repeats.held_back(text) is not None:
            log.warning("%s", text)
