"""How the server is, on one page: what came, who is there, what was refused, what waits, what runs out."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Annotated, NamedTuple

from d4common import __version__
from d4server import history, status, types
from d4server.history import TotalDay
from d4server.operations import kinds
from d4server.operations.operation import VIEWERS, Context, operation
from d4server.operations.sensors import known_sensors
from d4server.reasons import words
from d4server.status import Disk
from d4server.survey import Queue, Stream, survey

HEARD_WITHIN = 300
"""Seconds within which a sensor was heard that counts as there."""

DAYS = kinds.integer(1, 90).labelled("Days")


class RefusedToday(NamedTuple):
    """Connections closed today for one reason: of sensors that are known, and of strangers."""

    reason: str
    words: str
    sensors: int
    strangers: int


class Overview(NamedTuple):
    """All of it; times in seconds since the epoch, sizes in bytes.

    ``connected`` is how many sensors the server of this host has, None where it does not say; ``heard`` how
    many were heard by any server in the last five minutes. ``days`` ends with today.
    """

    version: str
    now: int
    certificate_end: float | None
    connected: int | None
    heard: int
    sensors: dict[str, int]
    days: list[TotalDay]
    refused: list[RefusedToday]
    queues: list[Queue]
    streams: list[Stream]
    memory: int
    memory_limit: int
    disk: Disk | None
    problems: list[str]


@operation("GET", "/overview", VIEWERS)
async def show(context: Context, *, days: Annotated[int, DAYS] = 14) -> Overview:
    """What came today and on the days before, sensors, refusals, queues, memory, disk and certificate."""
    redis, settings, now = context.redis, context.settings, int(time.time())
    problems: list[str] = []
    daemon = await asyncio.to_thread(status.ask_daemon, settings.d4.metrics, problems)
    known = (await known_sensors(context)).values()
    totals = await history.of_all(redis, days)
    found = await survey(redis, [each.name for each in await types.known(redis, settings.d4.rules())])
    return Overview(
        version=__version__,
        now=now,
        certificate_end=status.certificate_end(daemon, settings),
        connected=daemon.sensors if daemon else None,
        heard=sum(each.seen is not None and each.seen > now - HEARD_WITHIN for each in known),
        sensors={"approved": 0, "pending": 0, "revoked": 0, **Counter(each.state for each in known)},
        days=totals,
        refused=_refused(totals[-1]),
        queues=found.queues,
        streams=found.streams,
        memory=found.memory,
        memory_limit=found.memory_limit,
        disk=await status.disk(redis, settings.redis),
        problems=problems,
    )


def _refused(today: TotalDay) -> list[RefusedToday]:
    strangers: Counter[str] = Counter()
    for name, number in today.strangers.items():
        strangers[name.partition(":")[0]] += number
    return [
        RefusedToday(reason, words(reason), today.refused.get(reason, 0), strangers[reason])
        for reason in sorted({*today.refused, *strangers})
    ]
