"""What each sensor sends, by type and day: counted in memory, written to Redis every few seconds.

Times are seconds since the epoch by this server's clock, days those of UTC, written 2026-11-24.

- ``d4:{<partition>}:statistics:<uuid>:<day>``, a hash: ``packets:<type>``, ``bytes:<type>`` and
  ``records:<type>`` that came, those that came again too; ``refused:<reason>``, connections that were closed;
  ``first`` and ``last``, when the sensor was heard; ``address``, from where it was last.
- ``d4:{<partition>}:seen``, a sorted set: UUIDs of the partition's sensors by when each was last heard.
- ``d4:statistics:<day>``, a hash: the same counts over all sensors, and ``stranger:<reason>:<class>``,
  connections that were closed of whom no key was known, by the class of their addresses.

Several servers add to the same. The sets of types, reasons and classes are closed, so a stranger makes none
of it grow. What was under way when a connection to Redis broke may count twice.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address
from itertools import chain, islice
from typing import NamedTuple
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError

from d4common.records import PARTITIONS, partition
from d4server import lines

DAY = 86400
"""Seconds."""

PIECE = 50
"""Sensors that are written at once, so that ten thousand hold up neither Redis nor the event loop."""


@dataclass(slots=True)
class Volume:
    """How much came of one type: packets, bytes of payload, records."""

    packets: int = 0
    bytes: int = 0
    records: int = 0


@dataclass(slots=True)
class _Tally:
    """One sensor's day, as far as it is not yet written."""

    volumes: dict[str, Volume] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    first: int = 0
    last: int = 0
    address: str = ""

    def hear(self, now: int, address: str) -> None:
        self.first = self.first or now
        self.last = now
        self.address = address

    def counts(self) -> Counter[str]:
        """By their names in Redis."""
        counts: Counter[str] = Counter()
        for type, volume in self.volumes.items():
            counts[f"packets:{type}"] = volume.packets
            counts[f"bytes:{type}"] = volume.bytes
            counts[f"records:{type}"] = volume.records
        for reason, number in self.refused.items():
            counts[f"refused:{reason}"] = number
        return counts

    def put_before(self, earlier: _Tally) -> None:
        """Adds what was counted before, and could not be written."""
        _add_up(self.volumes, earlier.volumes)
        self.refused.update(earlier.refused)
        self.first = earlier.first or self.first
        if not self.last:
            self.last, self.address = earlier.last, earlier.address


class Statistics:
    """What one server process has counted. Its size is bounded by the number of sensors that are known."""

    def __init__(self) -> None:
        self._written: dict[str, Volume] = {}
        """By type, what came since the start and is in no tally any more."""
        self._tallies: dict[tuple[int, UUID], _Tally] = {}
        self._leaving: dict[tuple[int, UUID], _Tally] = {}
        """Those that are being written."""
        self._all: Counter[tuple[int, str]] = Counter()
        """By day and name in Redis: what is to be added to everybody's days, and is in no tally any more."""
        self._writing = asyncio.Lock()

    def data(
        self, sensor: UUID, address: str, type: str, packets: int, data: bytes, chunk: bool = False
    ) -> None:
        """So many packets came, authentic, from a sensor at an address: of lines, or each a chunk.

        ``data`` are their payloads together.
        """
        volumes = self._heard(sensor, address).volumes
        volume = volumes.get(type)
        if volume is None:
            volume = volumes[type] = Volume()
        volume.packets += packets
        volume.bytes += len(data)
        volume.records += packets if chunk else lines.count(data)

    def volumes(self) -> dict[str, Volume]:
        """All that came since the start, by type."""
        total: dict[str, Volume] = {}
        tallies = chain(self._leaving.values(), self._tallies.values())
        for volumes in (self._written, *(tally.volumes for tally in tallies)):
            _add_up(total, volumes)
        return total

    def heard(self, sensor: UUID, address: str) -> None:
        """Something authentic that is no data came from a sensor."""
        self._heard(sensor, address)

    def refused(self, reason: str, address: str, sensor: UUID | None) -> None:
        """A connection was closed: of a sensor whose key is known, or of a stranger (None)."""
        day = int(time.time()) // DAY
        if sensor is None:
            self._all[day, f"stranger:{reason}:{class_of(address)}"] += 1
        else:
            self._tally(day, sensor).refused[reason] += 1

    async def write(self, redis: Redis, days: int) -> None:
        """Adds what was counted since the last time to what Redis has, which keeps it for ``days``.

        Raises what redis-py raises; then what is not written is kept for the next time.
        """
        async with self._writing:
            if not self._tallies and not self._all:
                return
            await self._write_tallies(redis, days * DAY)
            await self._write_all(redis, days * DAY)

    async def _write_tallies(self, redis: Redis, lifetime: int) -> None:
        self._leaving, self._tallies = self._tallies, {}
        try:
            while piece := dict(islice(self._leaving.items(), PIECE)):
                commands = [_of_sensor(*key, tally, lifetime) for key, tally in piece.items()]
                errors = await _send(redis, commands)
                for key, error in zip(piece, errors, strict=True):
                    if error is None:
                        tally = self._leaving.pop(key)
                        self._add(key[0], tally.counts())
                        _add_up(self._written, tally.volumes)
                for error in filter(None, errors):
                    raise error
        finally:
            for key, tally in self._leaving.items():
                self._tallies.setdefault(key, _Tally()).put_before(tally)
            self._leaving = {}

    async def _write_all(self, redis: Redis, lifetime: int) -> None:
        days = {day: {name: n for (at, name), n in self._all.items() if at == day} for day, _ in self._all}
        written = [_of_all(day, counts, lifetime) for day, counts in days.items()]
        forgotten = [_forget(number, lifetime) for number in range(PARTITIONS)]
        errors = await _send(redis, [*written, *forgotten])
        for (day, counts), error in zip(days.items(), errors, strict=False):
            if error is None:
                self._add(day, {name: -number for name, number in counts.items()})
        self._all = +self._all
        for error in filter(None, errors):
            raise error

    def _add(self, day: int, counts: Mapping[str, int]) -> None:
        for name, number in counts.items():
            self._all[day, name] += number

    def _heard(self, sensor: UUID, address: str) -> _Tally:
        now = int(time.time())
        tally = self._tally(now // DAY, sensor)
        tally.hear(now, address)
        return tally

    def _tally(self, day: int, sensor: UUID) -> _Tally:
        tally = self._tallies.get((day, sensor))
        if tally is None:
            tally = self._tallies[day, sensor] = _Tally()
        return tally


def _add_up(total: dict[str, Volume], more: Mapping[str, Volume]) -> None:
    """Adds volumes to those of the same types."""
    for type, volume in more.items():
        sum = total.setdefault(type, Volume())
        sum.packets += volume.packets
        sum.bytes += volume.bytes
        sum.records += volume.records


Command = tuple[str | int, ...]


async def _send(redis: Redis, commands: Sequence[Sequence[Command]]) -> list[RedisError | None]:
    """Sends groups of commands, each of one partition, together. Says of each group what went wrong.

    On a Cluster, one node may be away while the others take theirs. Raises what redis-py raises.
    """
    async with redis.pipeline(transaction=False) as pipe:
        for command in chain(*commands):
            pipe.execute_command(*command)
        answers = iter(await pipe.execute(raise_on_error=False))
    of_groups = [list(islice(answers, len(group))) for group in commands]
    return [next((each for each in group if isinstance(each, RedisError)), None) for group in of_groups]


def _of_sensor(day: int, sensor: UUID, tally: _Tally, lifetime: int) -> list[Command]:
    """What adds a tally to a sensor's day."""
    key = day_key(sensor, day)
    commands = _increments(key, tally.counts())
    if tally.last:
        seen = seen_key(partition(sensor))
        commands += [
            ("HSETNX", key, "first", tally.first),
            ("HSET", key, "last", tally.last, "address", tally.address),
            ("ZADD", seen, "GT", tally.last, str(sensor)),
        ]
    return [*commands, ("EXPIRE", key, lifetime)]


def _of_all(day: int, counts: Mapping[str, int], lifetime: int) -> list[Command]:
    """What adds counts to the day of all."""
    return [*_increments(total_key(day), counts), ("EXPIRE", total_key(day), lifetime)]


def _forget(partition: int, lifetime: int) -> list[Command]:
    """What forgets the sensors of which nothing was heard for so long."""
    return [("ZREMRANGEBYSCORE", seen_key(partition), "-inf", int(time.time()) - lifetime)]


def _increments(key: str, counts: Mapping[str, int]) -> list[Command]:
    return [("HINCRBY", key, name, number) for name, number in counts.items()]


class Day(NamedTuple):
    """A day of one sensor, or of all: what came by type, and connections closed by reason.

    ``strangers`` is by reason and class of address, with a colon between them; only all sensors' has it.
    """

    volumes: dict[str, Volume]
    refused: dict[str, int]
    strangers: dict[str, int]

    @property
    def packets(self) -> int:
        """Over all types."""
        return sum(volume.packets for volume in self.volumes.values())


async def totals(redis: Redis) -> Day:
    """Today, over all sensors."""
    return read_day(await redis.hgetall(total_key(_today())))


async def today(redis: Redis, sensors: Iterable[UUID]) -> dict[UUID, Day]:
    """Today of each of these sensors."""
    wanted, day = list(sensors), _today()
    async with redis.pipeline(transaction=False) as pipe:
        for sensor in wanted:
            pipe.hgetall(day_key(sensor, day))
        answers = await pipe.execute() if wanted else []
    return {sensor: read_day(answer) for sensor, answer in zip(wanted, answers, strict=True)}


async def last_seen(redis: Redis) -> dict[UUID, int]:
    """When each sensor was last heard."""
    async with redis.pipeline(transaction=False) as pipe:
        for number in range(PARTITIONS):
            pipe.zrange(seen_key(number), 0, -1, withscores=True)
        answers = await pipe.execute()
    return {UUID(uuid.decode()): int(when) for answer in answers for uuid, when in answer}


@lru_cache(maxsize=1024)
def class_of(address: str) -> str:
    """What kind of address it is: ``ipv4-`` or ``ipv6-`` loopback, link-local, private or global."""
    try:
        ip = ip_address(address)
    except ValueError:
        return "unknown"
    if ip.is_loopback:
        kind = "loopback"
    elif ip.is_link_local:
        kind = "link-local"
    else:
        kind = "private" if ip.is_private else "global"
    return f"ipv{ip.version}-{kind}"


def read_day(fields: dict[bytes, bytes]) -> Day:
    """What a hash says; fields that nobody here has put there are passed over."""
    day = Day({}, {}, {})
    for name, value in fields.items():
        kind, _, rest = name.decode().partition(":")
        if kind in ("packets", "bytes", "records"):
            setattr(day.volumes.setdefault(rest, Volume()), kind, int(value))
        elif kind == "refused":
            day.refused[rest] = int(value)
        elif kind == "stranger":
            day.strangers[rest] = int(value)
    return day


def _today() -> int:
    return int(time.time()) // DAY


def day_key(sensor: UUID, day: int) -> str:
    """The key in Redis of a sensor's day, whose number counts from the epoch."""
    return f"{day_prefix(partition(sensor))}{sensor}:{date_of(day)}"


def day_prefix(partition: int) -> str:
    """What stands before the UUID in the keys of a partition's sensors' days."""
    return f"d4:{{{partition}}}:statistics:"


def total_key(day: int) -> str:
    """The key in Redis of the day of all sensors."""
    return f"d4:statistics:{date_of(day)}"


def seen_key(partition: int) -> str:
    """The key in Redis of a partition's sensors by when they were heard."""
    return f"d4:{{{partition}}}:seen"


def date_of(day: int) -> str:
    """A day's date, such as 2026-11-24."""
    return time.strftime("%Y-%m-%d", time.gmtime(day * DAY))
