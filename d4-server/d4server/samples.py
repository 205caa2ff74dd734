"""The last records that a queue was, or is to be, given: a look that takes nothing from it."""

from __future__ import annotations

import heapq
from codecs import getincrementaldecoder
from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID

from redis.asyncio import Redis

from d4common import queue_settings
from d4common.compression import decompress
from d4common.packet import CHUNK_NAMES
from d4common.queue_settings import members_of
from d4common.queues import parse_id, queues
from d4common.records import streams

MOST_BYTES = 4096
"""Bytes that are shown of a record."""

MOST_BINARY = 256
"""Bytes that are shown of a record as hexadecimal digits."""

MOST_ENTRIES = 200
"""Entries that are looked at, where most are empty or not of the queue's sensors."""


class Record(NamedTuple):
    """A record: its sensor, when it was stored (seconds since the epoch), its first bytes as text, its size.

    A byte that is no UTF-8 stands in the text as ``\\xff`` does. Where there are any, or a NUL, ``hex`` has
    the first bytes as hexadecimal digits; it is empty for text.
    """

    sensor: UUID
    stored: float
    text: str
    size: int
    hex: str


async def sample(redis: Redis, queue: str, most: int, chunks: Collection[str] = CHUNK_NAMES) -> list[Record]:
    """The last records, the newest first; of the types ``chunks`` each entry is one.

    Raises KeyError where there is no queue of this name.
    """
    type = (await queues(redis))[queue]
    group = (await queue_settings.settings(redis, [queue]))[queue].group
    members = await redis.smembers(members_of(group)) if group else None
    found: list[Record] = []
    newest = [entry for key in streams(type) if (entry := await _before(redis, key, "+"))]
    heapq.heapify(newest)
    for _ in range(MOST_ENTRIES):
        if not newest or len(found) >= most:
            break
        order, key, id, fields = heapq.heappop(newest)
        if (following := await _before(redis, key, f"({id}")) is not None:
            heapq.heappush(newest, following)
        try:
            uuid, data = UUID(bytes=fields[b"sensor"]), decompress(fields)
        except (KeyError, ValueError):
            continue  # what no server has put there
        if members is None or str(uuid).encode() in members:
            records = [data] if type in chunks else list(filter(None, reversed(data.split(b"\n"))))
            found += [_record(uuid, -order[0] / 1000, each) for each in records]
    return found[:most]


_Entry = tuple[tuple[int, int], str, str, dict[bytes, bytes]]
"""An entry in a stream: what sorts newer ones first, key, id, fields."""


async def _before(redis: Redis, key: str, id: str) -> _Entry | None:
    """The last entry of a stream up to an id."""
    for found, fields in await redis.xrevrange(key, max=id, count=1):
        milliseconds, number = parse_id(found)
        return (-milliseconds, -number), key, found.decode(), fields
    return None


def _record(sensor: UUID, stored: float, data: bytes) -> Record:
    first = data[:MOST_BYTES]
    text = first.decode("utf-8", "backslashreplace")
    return Record(sensor, stored, text, len(data), "" if _is_text(first) else first[:MOST_BINARY].hex())


def _is_text(data: bytes) -> bool:
    """Whether it is UTF-8 without a NUL, the end of which may be cut within a letter."""
    try:
        return "\0" not in getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False
