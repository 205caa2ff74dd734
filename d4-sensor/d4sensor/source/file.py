"""A file that grows, as a log does: followed over rotation, each byte of it given once.

Where a log is rotated by renaming it, what is still written to the old one comes before the new one, also
where all that happened while nobody read. One that is copied and emptied begins anew.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import deque
from glob import escape
from pathlib import Path

from d4sensor.source import Intake, SourceError
from d4sensor.source.cutting import Cutter
from d4sensor.source.place import OpenFile, Place

log = logging.getLogger(__name__)

POLL = 0.25
"""Seconds between looks at the file, once it was read to its end."""

LAST_WORDS = 5.0
"""Seconds in which a writer may go on with a file that was renamed, once there is a new one."""

AT_ONCE = 1 << 18
"""Bytes that are read at once."""

ROTATED = re.compile(r"[.-][0-9][0-9._T:-]*")
"""What a rotated file has behind its name: ``.1``, ``-20261124``; a copy or a compressed one has letters."""


class File:
    """Follows the file that ``path`` names."""

    def __init__(self, path: Path, cutter: Cutter) -> None:
        self._path = path
        self._cutter = cutter
        self._files: deque[OpenFile] = deque()
        """The file being read, and those that came after it."""
        self._place = Place(0)
        """Up to where records of the first were given."""
        self._said = ""

    async def run(self, intake: Intake) -> None:
        """Reads on where an earlier process came to, and follows. Raises SourceError."""
        self._resume(intake.position)
        begun = intake.position is not None
        try:
            while True:
                self._look()
                if self._files and not begun:  # so that it is known as of now, even if it is rotated
                    await intake.put_all([], str(self._place))
                    begun = True
                if self._files and await self._read(intake):
                    continue
                if self._is_over():
                    await self._next(intake)
                    continue
                await asyncio.sleep(POLL)
        finally:
            for file in self._files:
                file.close()

    def _look(self) -> None:
        """Opens the file that has the name now, if it is another one."""
        try:
            if self._files and self._files[-1].is_file(self._path.stat()):
                return
            self._append(OpenFile(self._path))
        except FileNotFoundError:
            self._say(f"{self._path} is not there; waiting for it")
        except OSError as error:
            self._say(f"{self._path} cannot be read: {error.strerror}; trying again")

    def _append(self, file: OpenFile) -> None:
        if not self._files:
            self._place = file.start
        self._files.append(file)
        self._said = ""

    async def _read(self, intake: Intake) -> bool:
        """Gives some of what is new in the first file; False where nothing is."""
        file = self._files[0]
        if not file.still_has(self._place, self._cutter.held):
            log.warning("%s was emptied, or written anew, and is read from its beginning", self._path)
            self._place = file.start
            await intake.put_all(self._cutter.finish(), str(self._place))
        data = file.read(self._place.offset + self._cutter.held, AT_ONCE)
        if not data:
            return False
        end = self._place.offset + self._cutter.held + len(data)
        records = self._cutter.receive(data)
        if records:
            self._place = file.place(end - self._cutter.held)
            await intake.put_all(records, str(self._place))
        return True

    def _is_over(self) -> bool:
        """Whether nobody writes to the first file any more: it was renamed some time ago, or others since."""
        after = list(self._files)[1:]
        return len(after) > 1 or bool(after and time.monotonic() > after[0].opened + LAST_WORDS)

    async def _next(self, intake: Intake) -> None:
        """Leaves the first file, which nobody writes to any more, for the next."""
        self._files.popleft().close()
        self._place = self._files[0].start
        await intake.put_all(self._cutter.finish(), str(self._place))

    def _resume(self, position: str | None) -> None:
        """Opens the file in which an earlier process was, and those that came after it."""
        if position is None:
            return
        place = Place.parse(position)
        for file in filter(None, map(_opened, self._by_age())):
            if self._files or file.is_at(place):
                self._append(file)
            else:
                file.close()
        if self._files:
            self._place = place
        else:
            log.error(
                "the file that was read up to byte %d is neither %s nor beside it with a number behind its "
                "name; what stood behind that is lost",
                place.offset,
                self._path,
            )

    def _by_age(self) -> list[Path]:
        """What has been rotated, the oldest first, and at last the file itself."""
        name = self._path.name
        rotated = [
            path
            for path in self._path.parent.glob(f"{escape(name)}?*")
            if ROTATED.fullmatch(path.name.removeprefix(name))
        ]
        return [*sorted(rotated, key=_last_written), self._path]

    def _say(self, text: str) -> None:
        """Says it once."""
        if text != self._said:
            log.warning("%s", text)
            self._said = text


def _opened(path: Path) -> OpenFile | None:
    """The file, if there is one that can be read."""
    try:
        return OpenFile(path)
    except (OSError, SourceError):
        return None


def _last_written(path: Path) -> int:
    """When a file was last written to, in nanoseconds since the epoch; 0 for one that is gone."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
