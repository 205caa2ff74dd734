"""What waits in analyzer queues, where it shall wait no longer: beyond a queue's cap, or emptied by hand.

A queue holds what it has not given out, and what it has and that is not acknowledged. Where a queue has a
cap, what is beyond it is dropped, the oldest first, by up to PIECE entries of one stream, so that a queue
that nobody empties stops no server. What a consumer has had for less than a minute is left to it. A cap in
bytes is about memory: how much an entry takes is the average over its type's streams.
"""

from __future__ import annotations

import heapq
import logging
from collections import Counter

from redis.asyncio import Redis
from redis.exceptions import RedisError

from d4common import journal, queue_settings
from d4common.queue_settings import Settings, settings_of
from d4common.queues import CLAIM_AFTER, left, parse_id, queues
from d4common.records import streams

log = logging.getLogger(__name__)

PIECE = 100
"""Entries of a stream that are dropped in one step, which Redis does in a millisecond or less."""

_FIND = """
local function find(stream, queue)
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local found = {}
    for at = 1, #group, 2 do found[group[at]] = group[at + 1] end
    if found['name'] == queue then return found end
  end
end
"""
"""What XINFO GROUPS says of a queue, by names."""

_DROP = f"""{_FIND}
-- Drops the oldest entries that wait in a queue. KEYS: stream. ARGV: queue, the first entry that waits as far
-- as the caller knows, how many to drop, milliseconds after which what a consumer was given waits too.
-- Another first entry means that somebody else was at it: then it drops nothing. Answers how many it
-- dropped, and the first entry that waits now; false where none does.
local stream, queue, idle = KEYS[1], ARGV[1], ARGV[4]
local function first()
  local left = redis.call('XPENDING', stream, queue, 'IDLE', idle, '-', '+', 1)[1]
  if left then return left[1] end
  local after = '(' .. find(stream, queue)['last-delivered-id']
  local fresh = redis.call('XRANGE', stream, after, '+', 'COUNT', 1)[1]
  return fresh and fresh[1]
end
local count, dropped = tonumber(ARGV[3]), 0
if count > 0 and first() == ARGV[2] then
  for _, left in ipairs(redis.call('XPENDING', stream, queue, 'IDLE', idle, '-', '+', count)) do
    dropped = dropped + redis.call('XACK', stream, queue, left[1])
  end
  if dropped < count then
    local read = redis.call(
      'XREADGROUP', 'GROUP', queue, 'd4-server', 'COUNT', count - dropped, 'NOACK', 'STREAMS', stream, '>')
    dropped = dropped + (read and #read[1][2] or 0)
    redis.call('XGROUP', 'DELCONSUMER', stream, queue, 'd4-server')
  end
end
return {{dropped, first() or false}}
"""

_EMPTY = f"""{_FIND}
-- Acknowledges all that a queue holds. KEYS: stream. ARGV: queue. Answers how many entries that were.
local stream, queue = KEYS[1], ARGV[1]
local found = find(stream, queue)
local emptied = found['pending'] + (found['lag'] or redis.call('XLEN', stream))
redis.call('XGROUP', 'SETID', stream, queue, '$')
while true do
  local left = redis.call('XPENDING', stream, queue, '-', '+', 1000)
  if #left == 0 then return emptied end
  for _, entry in ipairs(left) do redis.call('XACK', stream, queue, entry[1]) end
end
"""


async def empty(redis: Redis, queue: str) -> int:
    """Acknowledges all that a queue holds; how many entries that were. Raises KeyError where there is none.

    What a consumer has at hand it still gives to its sink.
    """
    emptied = 0
    for key in streams((await queues(redis))[queue]):
        emptied += await redis.eval(_EMPTY, 1, key, queue)
    return emptied


class Backlogs:
    """What a server has dropped from queues, and not yet counted in Redis."""

    def __init__(self) -> None:
        self._dropped: Counter[str] = Counter()
        self._repeats = journal.Repeats()

    async def enforce(self, redis: Redis) -> None:
        """Drops what is beyond the caps of queues. Works while Redis is full. Raises what redis-py raises."""
        known = await queues(redis)
        for name, settings in (await queue_settings.settings(redis, known)).items():
            if settings.cap_entries or settings.cap_bytes:
                excess, oldest = await _look(redis, known[name], name, settings)
                if excess > 0:
                    await self._drop(redis, name, excess, oldest)

    async def count(self, redis: Redis) -> None:
        """Adds what was dropped to what Redis counts of each queue. Raises what redis-py raises."""
        if not self._dropped:
            return
        known = await queues(redis)
        for name in list(self._dropped):
            if name in known:  # not deleted meanwhile
                await redis.hincrby(settings_of(name), "dropped", self._dropped[name])
            del self._dropped[name]

    async def _drop(self, redis: Redis, queue: str, excess: int, oldest: list[tuple[_Id, str]]) -> None:
        """Drops so many entries of a queue, of which these are the first that wait in its streams."""
        dropped = 0
        heapq.heapify(oldest)
        while dropped < excess and oldest:
            first, key = heapq.heappop(oldest)
            count = min(PIECE, excess - dropped)
            number, following = await redis.eval(
                _DROP, 1, key, queue, "-".join(map(str, first)), count, _IDLE
            )
            dropped += number
            self._dropped[queue] += number
            if number and following:
                heapq.heappush(oldest, (parse_id(following), key))
        if dropped and (before := self._repeats.held_back(queue)) is not None:
            more = f", as {before} times in the last minute" if before else ""
            log.warning(
                "the analyzer queue %s is beyond its cap: its oldest %d entries were dropped%s",
                *(queue, dropped, more),
                extra={"MESSAGE_ID": journal.QUEUE_DROPPED, "D4_QUEUE": queue},
            )


_Id = tuple[int, int]
"""Of an entry: milliseconds, and number within these."""

_IDLE = int(CLAIM_AFTER * 1000)


async def _look(redis: Redis, type: str, queue: str, settings: Settings) -> tuple[int, list[tuple[_Id, str]]]:
    """How many entries are beyond a queue's cap, and the first that waits of each stream."""
    keys = streams(type)
    async with redis.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.xlen(key)
            pipe.memory_usage(key)
            pipe.xinfo_groups(key)
            pipe.eval(_DROP, 1, key, queue, "", 0, _IDLE)
        answers = await pipe.execute(raise_on_error=False)
    held, entries, memory, oldest = 0, 0, 0, list[tuple[_Id, str]]()
    for number, key in enumerate(keys):
        length, size, groups, first = answers[4 * number : 4 * number + 4]
        own = [each for each in groups if each["name"].decode() == queue] if isinstance(groups, list) else []
        if not own or isinstance(first, RedisError):
            continue
        held += own[0]["pending"] + left(own[0], length)
        entries, memory = entries + length, memory + (size or 0)
        if first[1]:
            oldest.append((parse_id(first[1]), key))
    return held - _most(settings, entries, memory), oldest


def _most(settings: Settings, entries: int, memory: int) -> int:
    """The entries that a queue may hold, of a type whose streams hold so many, of so many bytes."""
    most = [settings.cap_entries] if settings.cap_entries else []
    if settings.cap_bytes and memory:
        most.append(settings.cap_bytes * entries // memory)
    return min(most, default=entries)
