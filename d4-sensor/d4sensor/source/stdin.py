"""Standard input, to its end."""

from __future__ import annotations

import asyncio
import os

from d4sensor.source import Intake, SourceError, give, put, readable
from d4sensor.source.cutting import Cutter

AT_ONCE = 1 << 16
"""Bytes that are read at once: as many as a pipe holds."""


class Stdin:
    """Reads a descriptor that somebody writes to. What was read is given even where a stop comes."""

    def __init__(self, cutter: Cutter, descriptor: int = 0) -> None:
        self._cutter = cutter
        self._descriptor = descriptor

    async def run(self, intake: Intake) -> None:
        """Gives all up to the end of input. Raises SourceError."""
        try:
            while data := await self._read():
                await give(intake, self._cutter.receive(data))
            await give(intake, self._cutter.finish())
        except asyncio.CancelledError:
            put(intake, self._cutter.finish())
            raise

    async def _read(self) -> bytes:
        await readable(self._descriptor)
        try:
            return os.read(self._descriptor, AT_ONCE)
        except OSError as error:
            raise SourceError(f"standard input cannot be read: {error.strerror}") from None
