"""Records in Redis streams: their names, and how they are appended.

Every data type (a D4 type as text, or a meta type such as ``maltrail``) has PARTITIONS streams; a sensor's
records are all in the one that its UUID chooses, so they keep their order. The partition is the key's hash
tag, so that whatever belongs to one partition lies on one node of a Redis Cluster.

An entry holds what packets completed that came together: whole records for types that are lines, never
one entry per line. What is numbered (docs/protocol.md, section 2) is appended once, however often it comes:
the number that a spool has come to lies beside its stream, and both change in one step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError

from d4common.compression import PLAIN, compress
from d4common.redis_cluster import Cluster

PARTITIONS = 16
"""Streams per type. Part of the layout of stored data: every server and exporter must agree on it."""

SPOOL_LIFETIME = 90 * 86400
"""Seconds after which it is forgotten how far a spool had come from which nothing came since."""

REPLICA_TIME = 1000
"""Milliseconds that replicas are waited for at once."""

_APPEND = """
-- All of a batch that is for one partition, or nothing of it. KEYS: streams, and numbers that spools have
-- come to. ARGV: lifetime of these, then group after group: which key is the stream, which the spool's
-- number (0 for plain entries), the sensor, how many entries. A plain entry is time, field and data; a
-- numbered one is the number of its first packet, its time, how many packets it has, the field and their
-- payloads, as one piece where they are compressed. Of packets only those are appended whose numbers are
-- higher than what the spool has come to; where that parts what is compressed, nothing from there on is
-- appended, and the answer says so (cut).
local function spooled(stream, spool, sensor, at, count)
  local before = tonumber(redis.call('GET', spool) or '0')
  local stored, entries, repeated, cut, gaps = before, 0, 0, 0, {}
  for _ = 1, count do
    local number, time = tonumber(ARGV[at]), ARGV[at + 1]
    local packets, field = tonumber(ARGV[at + 2]), ARGV[at + 3]
    local pieces = field == 'data' and packets or 1
    local first, last = at + 4, at + 3 + pieces
    local again = math.max(0, math.min(packets, stored + 1 - number))
    if again > 0 and again < packets and pieces < packets then
      cut = 1
    end
    if cut == 0 then
      repeated = repeated + again
      if again < packets then
        if number > stored + 1 then
          gaps[#gaps + 1] = stored + 1
          gaps[#gaps + 1] = number - 1
        end
        local data = ARGV[last]
        if first + again < last then
          data = table.concat(ARGV, '', first + again, last)
        end
        if data ~= '' then
          redis.call('XADD', stream, '*', 'sensor', sensor, 'time', time, field, data)
          entries = entries + 1
        end
        stored = number + packets - 1
      end
    end
    at = last + 1
  end
  if stored > before then
    redis.call('SET', spool, string.format('%.0f', stored), 'EX', ARGV[1])
  end
  return at, {stored, entries, repeated, cut, unpack(gaps)}
end
local answers, at = {}, 2
while at <= #ARGV do
  local stream, spool = KEYS[tonumber(ARGV[at])], KEYS[tonumber(ARGV[at + 1])]
  local sensor, count = ARGV[at + 2], tonumber(ARGV[at + 3])
  at = at + 4
  if spool then
    at, answers[#answers + 1] = spooled(stream, spool, sensor, at, count)
  else
    for _ = 1, count do
      redis.call('XADD', stream, '*', 'sensor', sensor, 'time', ARGV[at], ARGV[at + 1], ARGV[at + 2])
      at = at + 3
    end
  end
end
return answers
"""


class NotReplicated(RedisError):  # type: ignore[misc]
    """Redis has what was appended, but not yet as many of its replicas as were asked for."""


class Entry(NamedTuple):
    """What packets have completed: their sensor, data type, time (seconds since the epoch) and bytes."""

    sensor: UUID
    type: str
    timestamp: int
    data: bytes


class Spool(NamedTuple):
    """A spool of a sensor, as docs/protocol.md 2.1 has it."""

    sensor: UUID
    id: UUID


class Numbered(NamedTuple):
    """Packets of a spool, in a row from ``number`` on, whose payloads make one entry together.

    Without payloads it stores nothing, and only asks how far the spool has come.
    """

    spool: Spool
    type: str
    timestamp: int
    number: int
    payloads: Sequence[bytes]


class Progress(NamedTuple):
    """How far a spool has come: up to the number ``stored`` all is stored.

    And what this append did: ``entries`` it added, packets it left out because they were ``repeated``, and
    ``gaps``, first and last number of those that were skipped.
    """

    spool: Spool
    stored: int
    entries: int
    repeated: int
    gaps: list[tuple[int, int]]


def partition(sensor: UUID) -> int:
    """The partition of a sensor; the last byte of a version 4 UUID is random."""
    return sensor.bytes[15] % PARTITIONS


def stream(type: str, partition: int) -> str:
    """The key of a stream."""
    return f"d4:{{{partition}}}:{type}"


def streams(type: str) -> list[str]:
    """The keys of all streams of a type."""
    return [stream(type, number) for number in range(PARTITIONS)]


async def append(redis: Redis, entries: Sequence[Entry | Numbered]) -> list[Progress]:
    """Appends a batch in one try; see Batch.append()."""
    return await Batch(entries).append(redis)


class Batch:
    """Entries that are appended together, in as many tries as it takes."""

    def __init__(self, entries: Sequence[Entry | Numbered], replicas: int = 0) -> None:
        """So many replicas must have them too before append() returns."""
        self._replicas = replicas
        self._parts: dict[int, _Part] = {}
        for entry in entries:
            number = partition(entry.spool.sensor if isinstance(entry, Numbered) else entry.sensor)
            self._parts.setdefault(number, _Part(number)).add(entry)

    async def append(self, redis: Redis) -> list[Progress]:
        """Appends what is not known to be appended, and says how far spools have come.

        It takes one round trip, to each node of a Cluster at once, and another one where Redis was to part
        what is compressed, since some of it came before. One Redis that is full takes nothing;
        nodes of a Cluster, and a Redis that is to wait for replicas, take all of a partition or nothing.

        Raises what redis-py raises, and NotReplicated; then it is to be called again. That appends nothing
        twice but this: plain entries of a partition of which the answer was lost, since it cannot be known
        whether they were taken. What is numbered is appended once even then.
        """
        await self._append(redis)
        while not all(part.taken for part in self._parts.values()):
            await self._append(redis)
        return [each for part in self._parts.values() for each in part.progress.values()]

    async def _append(self, redis: Redis) -> None:
        parts = [part for part in self._parts.values() if self._replicas or not part.taken]
        whole = not self._replicas and not isinstance(redis, Cluster)
        async with redis.pipeline(transaction=whole) as pipe:
            for part in parts:
                part.append(pipe)
            if self._replicas and parts:
                self._wait(pipe, parts)
            answers = await pipe.execute(raise_on_error=False)
        for part, answer in zip(parts, answers, strict=False):
            if not isinstance(answer, RedisError):
                part.take(answer)
        for answer in answers:
            if isinstance(answer, RedisError):
                raise answer
        if self._replicas and parts and answers[-1] < self._replicas:
            raise NotReplicated(f"fewer than {self._replicas} replicas have what it stores")

    def _wait(self, pipe: Any, parts: Sequence[_Part]) -> None:
        """Redis waits for the last write of the connection, so that there must be one in any case."""
        for part in parts:
            pipe.set(f"d4:{{{part.number}}}:appended", "")
        pipe.wait(self._replicas, REPLICA_TIME)


class _Part:
    """What a batch has for one partition."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.taken = False
        """Whether Redis has said that it has it."""
        self.progress: dict[tuple[Spool, str], Progress] = {}
        self._parted: set[tuple[Spool, str]] = set()
        """Those that are sent as single packets, since Redis has some of them."""
        self._plain: dict[tuple[UUID, str], list[Entry]] = {}
        self._numbered: dict[tuple[Spool, str], list[Numbered]] = {}

    def add(self, entry: Entry | Numbered) -> None:
        if isinstance(entry, Numbered):
            self._numbered.setdefault((entry.spool, entry.type), []).append(entry)
        else:
            self._plain.setdefault((entry.sensor, entry.type), []).append(entry)

    def append(self, pipe: Any) -> None:
        """Puts the script into a pipeline; all its keys lie on one node of a Redis Cluster."""
        keys: dict[str, int] = {}
        arguments: list[bytes | str | int] = [SPOOL_LIFETIME]
        for (sensor, type), entries in self._plain.items():
            place = keys.setdefault(stream(type, self.number), len(keys) + 1)
            arguments += (place, 0, sensor.bytes, len(entries))
            for entry in entries:
                arguments += (entry.timestamp, *compress(entry.data))
        for (spool, type), group in self._numbered.items():
            place = keys.setdefault(stream(type, self.number), len(keys) + 1)
            reached = f"d4:{{{self.number}}}:spool:{spool.sensor}:{spool.id}"
            full = [entry for entry in group if entry.payloads]
            arguments += (place, keys.setdefault(reached, len(keys) + 1), spool.sensor.bytes, len(full))
            for each in full:
                field, pieces = PLAIN, each.payloads
                if (spool, type) not in self._parted:
                    field, data = compress(b"".join(each.payloads))
                    pieces = each.payloads if field == PLAIN else (data,)
                arguments += (each.number, each.timestamp, len(each.payloads), field, *pieces)
        pipe.eval(_APPEND, len(keys), *keys, *arguments)

    def take(self, answers: Sequence[Sequence[int]]) -> None:
        """Redis has it, but for what it was to part. Progress is what the first answers say that it did.

        (Further ones, where that was sent again to make sure, say what came again.)
        """
        for key, answer in zip(tuple(self._numbered), answers, strict=True):
            stored, entries, repeated, cut, *gaps = answer
            pairs = list(zip(gaps[::2], gaps[1::2], strict=True))
            before = self.progress.get(key)
            if before is None or key in self._parted:
                before = before or Progress(key[0], 0, 0, 0, [])
                entries, repeated = before.entries + entries, before.repeated + repeated
                self.progress[key] = Progress(key[0], stored, entries, repeated, before.gaps + pairs)
            else:
                self.progress[key] = before._replace(stored=stored)
            self._parted.discard(key)
            if cut:
                self._parted.add(key)
                rest = [each for each in self._numbered[key] if each.number + len(each.payloads) > stored + 1]
                self._numbered[key] = rest
        self._plain.clear()
        self.taken = not self._parted
