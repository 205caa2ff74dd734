"""The events of a day as they are logged, as Server-Sent Events (HTML standard, section 9.2).

Each message is JSON: ``total``, the lines of the day so far, and ``events``, the new ones, the oldest first.
Its id is the offset in the log, in bytes, up to which it goes: who connects again goes on from there. The
first message of a new visitor holds the end of the day so far.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiohttp import web

from d4common import event
from maltrailcollector.daylog import day_of

MOST_EVENTS = 1000
MOST_BYTES = 200_000
"""The most of a log, in events and in bytes, that goes into one message; older ones are only counted."""

PERIOD = 0.5
"""Seconds between looks at the log."""

KEEP_ALIVE = 15.0
"""Seconds of silence after which a comment is sent, to find out who has left."""

_CHUNK = 1 << 20


class LineCounts:
    """Counts the lines of logs, each byte once however many are watching."""

    def __init__(self) -> None:
        self._counted: dict[Path, tuple[int, int]] = {}

    def count(self, path: Path, end: int) -> int:
        """The lines in the first ``end`` bytes. Raises OSError."""
        offset, lines = self._counted.get(path, (0, 0))
        if offset > end:
            offset, lines = 0, 0
        with path.open("rb") as file:
            file.seek(offset)
            while offset < end and (chunk := file.read(min(_CHUNK, end - offset))):
                offset += len(chunk)
                lines += chunk.count(b"\n")
        self._counted[path] = (offset, lines)
        return lines


def latest(path: Path, offset: int) -> tuple[list[bytes], int]:
    """The last whole lines of a log that begin at ``offset`` or later, and the offset behind them.

    At most MOST_EVENTS of them, in at most MOST_BYTES. Raises OSError.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if offset > size:  # another file than the one that the offset was of
            offset = 0
        start = max(offset, size - MOST_BYTES)
        before = max(start - 1, 0)
        file.seek(before)
        text = file.read(MOST_BYTES + start - before)
    whole = text.rfind(b"\n") + 1
    end = max(before + whole, offset)
    text = text[:whole]
    if start > 0:  # the line that the byte before belongs to began too early, or ends right there
        text = text[text.find(b"\n") + 1 :]
    return text.split(b"\n")[:-1][-MOST_EVENTS:], end


def as_json(line: bytes) -> dict[str, Any] | None:
    """What the page shows of a log line; None where somebody else wrote it and it is no event."""
    text = line.decode(errors="replace")
    try:
        seen = event.parse(text)
    except event.EventError:
        return None
    fields = dataclasses.asdict(seen)
    del fields["sec"], fields["usec"]
    return {"time": text[1 : text.index('"', 1)], "severity": seen.severity, **fields}


def message(path: Path, offset: int, counts: LineCounts) -> tuple[bytes, int]:
    """The message about what a log holds from ``offset`` on, and the offset up to which it goes."""
    try:
        lines, end = latest(path, offset)
        total = counts.count(path, end)
    except FileNotFoundError:
        lines, end, total = [], 0, 0
    events = [shown for shown in map(as_json, lines) if shown]
    data = json.dumps({"total": total, "events": events}, separators=(",", ":"))
    return f"id: {end}\ndata: {data}\n\n".encode(), end


async def stream(
    request: web.Request,
    path: Path,
    counts: LineCounts,
    allowed: Callable[[], bool],
    stopping: asyncio.Event,
) -> web.StreamResponse:
    """Answers with messages until the visitor leaves, is no longer allowed, or the daemon stops.

    When the day that was today is over, an event ``midnight`` says so.
    """
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
    await response.prepare(request)
    with suppress(ConnectionError):
        async for text in _texts(path, _last_id(request), counts, stopping):
            if not allowed():
                break
            await response.write(text)
    return response


async def _texts(
    path: Path, offset: int | None, counts: LineCounts, stopping: asyncio.Event
) -> AsyncIterator[bytes]:
    """What to send, from ``offset`` on or from the end of the day so far; empty where there is nothing."""
    is_today = path.stem == _today()
    spoken = time.monotonic()
    while not stopping.is_set():
        text = b""
        if offset is None or _size(path) != offset:
            text, end = await asyncio.to_thread(message, path, offset or 0, counts)
            if end == offset:  # all that is new is a line that has not ended
                text = b""
            offset = end
        if is_today and path.stem != _today():
            is_today = False
            text += b"event: midnight\ndata:\n\n"
        if not text and time.monotonic() - spoken > KEEP_ALIVE:
            text = b":\n\n"
        if text:
            spoken = time.monotonic()
        yield text
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), PERIOD)


def _last_id(request: web.Request) -> int | None:
    text = request.headers.get("Last-Event-ID", "")
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _today() -> str:
    return day_of(int(time.time()))
