"""The audit trail in Redis and in the journal: who did what, from where, and who was not let.

Two streams, both bounded, so that whoever is not let in cannot push out what was done: ``d4:{admin}:audit``
and ``d4:{admin}:audit:refused``. An entry has the fields of Entry but for its time, which its id has.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import RedisError

from d4common import redis_client
from d4common.journal import AUDIT
from d4server.actor import Actor

log = logging.getLogger(__name__)

DONE, REFUSED = "done", "refused"
STREAMS = {DONE: "d4:{admin}:audit", REFUSED: "d4:{admin}:audit:refused"}
MOST = {DONE: 100_000, REFUSED: 10_000}
"""Entries of each stream; the oldest make way."""

LONGEST_VALUE = 200
"""Characters of a value that are kept."""

BATCH = 500
"""Entries that Redis looks at without doing anything else: some milliseconds."""


_FIND = """
-- KEYS: stream. ARGV: where to begin, how many entries to look at, what they must hold (in small letters),
-- how many of those that do to pass over, and up to which to give. Gives how many it looked at, where to go
-- on, how many hold it, and entries.
local entries = redis.call('XREVRANGE', KEYS[1], ARGV[1], '-', 'COUNT', ARGV[2])
local matches, found = 0, {}
for _, entry in ipairs(entries) do
  local holds = ARGV[3] == ''
  for n = 2, #entry[2], 2 do
    holds = holds or string.find(string.lower(entry[2][n]), ARGV[3], 1, true)
  end
  if holds then
    matches = matches + 1
    if matches > tonumber(ARGV[4]) and matches <= tonumber(ARGV[5]) then table.insert(found, entry) end
  end
end
return {#entries, #entries > 0 and '(' .. entries[#entries][1] or '-', matches, found}
"""


class Entry(NamedTuple):
    """One thing that somebody did, or tried. ``time`` is seconds since the epoch."""

    time: float
    user: str
    action: str
    address: str
    means: str
    values: str
    """With what, as JSON: one object of names and texts, or nothing."""


async def write(
    redis: Redis, actor: Actor, action: str, values: Mapping[str, Any], outcome: str = DONE
) -> None:
    """Has it that somebody did something, or was ``refused``; ``values`` hold nothing secret.

    What is done is done, so the journal has it too where Redis does not take it.
    """
    written = json.dumps({name: _short(value) for name, value in values.items()}, ensure_ascii=False)
    fields = {"user": actor.name, "action": action, "address": actor.address, "means": actor.means}
    fields["values"] = written.encode(errors="replace").decode() if values else ""
    log.log(
        logging.INFO if outcome == DONE else logging.WARNING,
        "%s %s by %s from %s (%s) %s",
        *(action, outcome, actor.name, actor.address, actor.means, fields["values"]),
        extra={
            "MESSAGE_ID": AUDIT,
            "D4_USER": actor.name,
            "D4_ACTION": action,
            "D4_ADDRESS": actor.address,
            "D4_REASON": outcome,
        },
    )
    try:
        await redis.xadd(STREAMS[outcome], fields, maxlen=MOST[outcome], approximate=True)
    except RedisError as error:
        log.error("only the journal has this, Redis does not work: %s", redis_client.explain(error))


async def find(redis: Redis, outcome: str, search: str, page: int, size: int) -> tuple[list[Entry], int]:
    """One page of the entries in which ``search`` occurs, the newest first; and how many there are in all."""
    stream, last, total = STREAMS[outcome], "+", 0
    found: list[Entry] = []
    while search or total < page * size:
        wanted = (search.lower().encode(errors="replace"), (page - 1) * size - total, page * size - total)
        read, last, matches, entries = await redis.eval(_FIND, 1, stream, last, BATCH, *wanted)
        total += matches
        found += [_entry(*entry) for entry in entries]
        if read < BATCH:
            break
    return found, total if search else await redis.xlen(stream)


def _entry(id: bytes, pairs: list[bytes]) -> Entry:
    fields = dict(zip(pairs[::2], pairs[1::2], strict=True))
    texts = (fields.get(name.encode(), b"").decode(errors="replace") for name in Entry._fields[1:])
    return Entry(int(id.partition(b"-")[0]) / 1000, *texts)


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple | set | frozenset) else str(value)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"
