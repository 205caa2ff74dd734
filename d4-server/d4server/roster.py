"""All sensors as they were a moment ago, so that a list of ten thousand asks Redis nothing.

A process that answers many questions keeps one Roster. It is renewed every RENEW_INTERVAL seconds while
somebody asks; a sensor that was changed here is looked up before the next answer. Redis gives what is about
many sensors as one piece of JSON, since it is the number of answers that costs time here.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from redis.asyncio import Redis

from d4common import enrolling
from d4common.records import PARTITIONS
from d4common.service import cancel
from d4server import groups, statistics
from d4server.sensors import ALL, PENDING

RENEW_INTERVAL, IDLE_INTERVAL = 2.0, 10.0
"""Seconds between two looks at Redis, while somebody asks and while nobody does."""

ASKED_FOR = 60.0
"""Seconds after the last question in which somebody counts as asking."""

PATIENCE = 0.05
"""Seconds that a question waits for a copy that is older than it should be to be renewed."""

OLDEST = 30.0
"""Seconds after which a copy is given to nobody."""

PIECE = 250
"""Sensors about which Redis is asked at once, so that neither it nor the event loop is held up for long."""

_RECORDS = """
-- KEYS: all sensors, whose records have this key before their UUIDs. ARGV: UUIDs. No key leaves Redis.
local found = {}
for number, uuid in ipairs(ARGV) do
  local record = redis.call('HMGET', KEYS[1] .. ':' .. uuid, 'name', 'added', 'description', 'mail',
    'third_party', 'claim', 'revoked', 'offered', 'key')
  for field = 1, 7 do record[field] = record[field] or '' end
  record[8] = record[8] and 1 or 0
  record[9] = record[9] and 1 or 0
  found[number] = record
end
return cjson.encode(found)
"""

_HEARD = """
-- KEYS: sensors of a partition by when they were heard. ARGV: what stands before the UUID in the key of a
-- sensor's day, number of today, today, yesterday, and so on.
local found, seen = {}, redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for at = 1, #seen, 2 do
  local date = ARGV[3 + ARGV[2] - math.floor(seen[at + 1] / 86400)]
  local address = date and redis.call('HGET', ARGV[1] .. seen[at] .. ':' .. date, 'address')
  found[#found + 1] = {seen[at], tonumber(seen[at + 1]), address or ''}
end
return cjson.encode(found)
"""


class Listed(NamedTuple):
    """A sensor as lists show it; times are in seconds since the epoch.

    ``state`` is approved, pending or revoked, ``code`` what one shows too that waits; ``seen`` is when it was
    heard last, and from which ``address``: None and nothing, if not for as long as the statistics are kept.
    """

    uuid: UUID
    name: str
    state: str
    added: int
    seen: int | None
    address: str
    groups: tuple[str, ...]
    code: str
    description: str
    mail: str
    third_party: str
    text: str
    """All that is searched, in small letters."""


class Roster:
    """What a process keeps of all sensors."""

    def __init__(self, redis: Redis, days: int) -> None:
        """``days`` is for how many the statistics are kept."""
        self._redis = redis
        self._days = days
        self._sensors: dict[UUID, Listed] = {}
        self._read = self._asked = -OLDEST
        self._renewal: asyncio.Task[None] | None = None
        self._changed: set[UUID] = set()
        """Sensors that are to be looked up before the next answer."""
        self._changed_meanwhile: set[UUID] = set()
        """Those that were changed since the renewal that is under way began, or the last one."""

    async def sensors(self) -> dict[UUID, Listed]:
        """All of them by UUID. Raises what redis-py raises."""
        self._asked = time.monotonic()
        age = self._asked - self._read
        if age > 2 * RENEW_INTERVAL:  # twice: what is being renewed is fresh enough
            renewal = self._renew()
            await asyncio.wait({renewal}, timeout=PATIENCE if age < OLDEST else None)
            if renewal.done():
                renewal.result()
        while self._changed:
            await self._look_up(self._changed.pop())
        return self._sensors

    def outdate(self, sensor: UUID | None = None) -> None:
        """Somebody here has changed a sensor, or what is about many: the next answer has it."""
        if sensor is None:
            self._read = -OLDEST
        else:
            self._changed.add(sensor)
            self._changed_meanwhile.add(sensor)

    async def keep(self) -> None:
        """Looks again and again."""
        try:
            while True:
                now = time.monotonic()
                asking = now - self._asked < ASKED_FOR
                if asking or now - self._read > IDLE_INTERVAL:
                    await asyncio.wait({self._renew()})  # if it fails, whoever asks next will see why
                await asyncio.sleep(RENEW_INTERVAL)
        finally:
            if self._renewal is not None:
                await cancel(self._renewal)

    def _renew(self) -> asyncio.Task[None]:
        """The renewal that is under way."""
        if self._renewal is None or self._renewal.done():
            self._changed_meanwhile = set()
            self._renewal = asyncio.create_task(self._renew_all())
            self._renewal.add_done_callback(_heed)
        return self._renewal

    async def _renew_all(self) -> None:
        now = time.monotonic()
        self._sensors = await read(self._redis, self._days)
        self._read = now
        self._changed |= self._changed_meanwhile

    async def _look_up(self, sensor: UUID) -> None:
        """Takes over one sensor, as it is now; nobody has heard it anew."""
        before = self._sensors.get(sensor)
        heard = (before.seen, before.address) if before else (None, "")
        [record] = await _records(self._redis, [str(sensor).encode()])
        inside = tuple(await groups.groups_of(self._redis, sensor))
        now = _listed(sensor, record, *heard, inside)
        if now is not None:
            self._sensors[sensor] = now
        else:
            self._sensors.pop(sensor, None)


def _heed(renewal: asyncio.Task[None]) -> None:
    """Takes note of what went wrong: asyncio would say that nobody has."""
    if not renewal.cancelled():
        renewal.exception()


async def read(redis: Redis, days: int) -> dict[UUID, Listed]:
    """All sensors by UUID, as Redis has them now. Raises what redis-py raises."""
    uuids = sorted({*await redis.smembers(ALL), *await redis.zrange(PENDING, 0, -1)})
    heard = await _heard(redis, days)
    members = await groups.memberships(redis)
    found: dict[UUID, Listed] = {}
    for piece in _pieces(uuids):
        for text, record in zip(piece, await _records(redis, piece), strict=True):
            uuid = UUID(text.decode())
            seen, address = heard.get(str(uuid), (None, ""))
            listed = _listed(uuid, record, seen, address, members.get(uuid, ()))
            if listed is not None:
                found[uuid] = listed
    return found


async def _records(redis: Redis, uuids: Sequence[bytes]) -> list[Any]:
    """What the records of sensors say, as _listed() takes it."""
    found: list[Any] = json.loads(await redis.eval(_RECORDS, 1, ALL, *uuids))
    return found


async def _heard(redis: Redis, days: int) -> dict[str, tuple[int, str]]:
    """When each sensor was heard last, and from where, by its UUID as text."""
    today = int(time.time()) // statistics.DAY
    dates = [statistics.date_of(today - back) for back in range(days)]
    found = {}
    for number in range(PARTITIONS):
        before = statistics.day_prefix(number)
        answer = await redis.eval(_HEARD, 1, statistics.seen_key(number), before, today, *dates)
        found.update({uuid: (int(when), address) for uuid, when, address in json.loads(answer)})
    return found


def _pieces(uuids: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for first in range(0, len(uuids), PIECE):
        yield uuids[first : first + PIECE]


def _listed(
    uuid: UUID, record: Sequence[Any], seen: int | None, address: str, inside: tuple[str, ...]
) -> Listed | None:
    """A sensor in what Redis says of it; None for a request that was forgotten meanwhile."""
    name, added, description, mail, third_party, claim, revoked, offered, key = record
    if not (revoked or key or claim or offered):
        return None
    state = "revoked" if revoked else "approved" if key else "pending"
    code = enrolling.code(claim) if claim and state == "pending" else ""
    text = "\n".join((str(uuid), name, description, address, *inside)).casefold()
    about = description, mail, third_party, text
    return Listed(uuid, name, state, int(added or 0), seen, address, inside, code, *about)
