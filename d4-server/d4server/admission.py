"""Who comes in without a key: with a one-time token at once, otherwise after an administrator's approval.

What strangers leave behind is bounded: so many wait, so many of them from one origin, each for a day. A
claim and a token are stored as their SHA-256, so that whoever reads Redis can use neither.

Beside the records of sensors.py there are ``d4:{sensors}:token:<digest>``, the name that a token gives,
``d4:{sensors}:tokens``, digests by when they end, and sorted sets of UUIDs by time: ``d4:{sensors}:pending``,
and ``d4:{sensors}:pending:<origin>`` for each origin.

Whom a registrar has registered with a key waits too, for as long as it takes: registrars are no strangers.
"""

from __future__ import annotations

import secrets
import time
from typing import NamedTuple
from uuid import UUID

from redis.asyncio import Redis

from d4common import enrolling
from d4common.enrolling import Enroll
from d4common.origins import origin_of
from d4common.sender import Identity
from d4server.sensors import ALL, PENDING, Refused, enlist, new_key, record_of, waiting_from

LIFETIME = 86400
"""Seconds for which a request waits, and for which the answer to it is given again."""

TOKENS = "d4:{sensors}:tokens"
"""Sorted set of the tokens' digests, by the time at which each ends (seconds since the epoch)."""

ID_LENGTH = 16
"""Digits of a token's digest that are its id."""

MOST_PENDING = 1000
MOST_FROM_ORIGIN = 10
"""Requests that wait at once."""

_ENROLL = """
-- KEYS: sensor, all sensors, pending, pending from this origin, token. ARGV: UUID, digest of the claim, name,
-- origin, new key, now, lifetime, most pending, most from this origin, whether there is a token.
local sensor, all, pending, from = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local uuid, claim, now, lifetime = ARGV[1], ARGV[2], tonumber(ARGV[6]), tonumber(ARGV[7])
local record = redis.call('HMGET', sensor, 'key', 'claim', 'claim_until', 'revoked', 'offered')
local key, claimed, valid, revoked, offered = unpack(record)
if revoked then return {'revoked'} end
if offered then return {'registered'} end
if key then
  if claimed == claim and now < tonumber(valid) then return {'admitted', key} end
  return {'known'}
end
if ARGV[10] == 'yes' then
  local name = redis.call('GET', KEYS[5])
  if not name then return {'token'} end
  if name == '' then name = ARGV[3] end
  redis.call('DEL', KEYS[5], sensor)
  redis.call('HSET', sensor, 'key', ARGV[5], 'name', name, 'added', now, 'source', 'token')
  redis.call('HSET', sensor, 'claim', claim, 'claim_until', now + lifetime)
  redis.call('SADD', all, uuid)
  redis.call('ZREM', pending, uuid)
  redis.call('ZREM', from, uuid)
  return {'admitted', ARGV[5]}
end
if claimed then
  return {claimed == claim and 'waiting' or 'claimed'}
end
for _, set in ipairs({pending, from}) do
  redis.call('ZREMRANGEBYSCORE', set, '-inf', now - lifetime)
end
if redis.call('ZCARD', from) >= tonumber(ARGV[9]) then return {'crowded'} end
if redis.call('ZCARD', pending) >= tonumber(ARGV[8]) then return {'full'} end
redis.call('HSET', sensor, 'claim', claim, 'name', ARGV[3], 'added', now, 'origin', ARGV[4])
for _, set in ipairs({pending, from}) do
  redis.call('ZADD', set, now, uuid)
end
redis.call('EXPIRE', sensor, lifetime)
redis.call('EXPIRE', from, lifetime)
return {'waiting', 'new'}
"""

_REGISTER = """
-- KEYS: sensor, all sensors. ARGV: UUID, key, now, mail, third party, description.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'offered', ARGV[2], 'added', ARGV[3], 'mail', ARGV[4], 'third_party', ARGV[5],
  'description', ARGV[6])
redis.call('SADD', KEYS[2], ARGV[1])
return 1
"""

_REFUSALS = {
    "registered": "{uuid} is registered with a key, and waits for approval",
    "revoked": "{uuid} is revoked; after `d4-server sensors remove {uuid}` it may ask again",
    "known": "{uuid} is known already; `d4-sensor renew` gets it another key, "
    "and after `d4-server sensors remove {uuid}` it may enrol again",
    "token": "the token is not known, was used or has expired; `d4-server sensors token` makes another",
    "claimed": "somebody else asked for {uuid} before; `d4-server sensors remove {uuid}` forgets that",
    "crowded": f"{MOST_FROM_ORIGIN} sensors from the same network wait for approval already; "
    "`d4-server sensors list` shows them",
    "full": f"{MOST_PENDING} sensors wait for approval already; a token gets in without waiting",
}


class Admitted(NamedTuple):
    """The sensor is let in, and this is its key."""

    key: bytes


class Waiting(NamedTuple):
    """An administrator must approve; ``new`` unless the sensor has waited before."""

    new: bool


async def enroll(redis: Redis, request: Enroll, address: str) -> Admitted | Waiting:
    """What becomes of a request to be let in; asked again, the same. Raises Refused."""
    origin = origin_of(address)
    keys = [
        *(record_of(request.uuid), ALL, PENDING, waiting_from(origin.encode())),
        _token(request.token or ""),
    ]
    values = [
        *(str(request.uuid), enrolling.digest(request.claim), request.name, origin, new_key()),
        *(int(time.time()), LIFETIME, MOST_PENDING, MOST_FROM_ORIGIN),
        "no" if request.token is None else "yes",
    ]
    outcome, *more = await redis.eval(_ENROLL, len(keys), *keys, *values)
    if outcome == b"admitted":
        return Admitted(more[0])
    if outcome == b"waiting":
        return Waiting(bool(more))
    raise Refused(_REFUSALS[outcome.decode()].format(uuid=request.uuid))


async def look(redis: Redis, request: Enroll) -> Admitted | None:
    """Whether one that waits was let in. Raises Refused where it does not wait any more."""
    key, claim, revoked = await redis.hmget(record_of(request.uuid), "key", "claim", "revoked")
    if revoked:
        raise Refused(_REFUSALS["revoked"].format(uuid=request.uuid))
    if claim is None or claim.decode() != enrolling.digest(request.claim):
        raise Refused("an administrator has forgotten this request, or it has waited for a day")
    return Admitted(key) if key else None


async def approve(redis: Redis, sensor: UUID) -> None:
    """Lets a sensor in that waits. Raises Refused where none does."""
    record = record_of(sensor)
    fields = "key", "revoked", "claim", "offered", "origin"
    key, revoked, claim, offered, origin = await redis.hmget(record, *fields)
    if key:
        raise Refused(f"{sensor} is approved already")
    if revoked:
        raise Refused(f"{sensor} is revoked; `d4-server sensors remove {sensor}` forgets that")
    if not (claim or offered):
        raise Refused(f"{sensor} does not wait for approval; `d4-server sensors list` shows who does")
    now = int(time.time())
    async with redis.pipeline() as pipe:
        pipe.hsetnx(record, "key", offered or new_key())
        pipe.hset(record, mapping={"added": now, "source": "approved", "claim_until": now + LIFETIME})
        pipe.hdel(record, "offered")
        enlist(pipe, sensor, origin)
        await pipe.execute()


async def register(
    redis: Redis, identity: Identity, mail: str = "", third_party: str = "", description: str = ""
) -> bool:
    """Has a sensor wait for approval with the key that it has. False if it is known already."""
    values = int(time.time()), mail, third_party, description
    keys = record_of(identity.uuid), ALL
    return bool(await redis.eval(_REGISTER, 2, *keys, str(identity.uuid), identity.key, *values))


async def new_token(redis: Redis, name: str, valid: float) -> str:
    """A token that lets one sensor in within ``valid`` seconds, under a name if that is not empty."""
    token, now = secrets.token_hex(16), time.time()
    async with redis.pipeline() as pipe:
        pipe.set(_token(token), name, px=int(valid * 1000))
        pipe.zremrangebyscore(TOKENS, "-inf", now)
        pipe.zadd(TOKENS, {enrolling.digest(token): now + valid})
        await pipe.execute()
    return token


class Token(NamedTuple):
    """A token that was not used yet. The id is of its digest: with it nobody gets in."""

    id: str
    name: str
    expires: int


async def tokens(redis: Redis) -> list[Token]:
    """All that can be used, those that end first before the others."""
    found = await redis.zrangebyscore(TOKENS, time.time(), "+inf", withscores=True)
    async with redis.pipeline(transaction=False) as pipe:
        for digest, _ in found:
            pipe.get(_of_digest(digest.decode()))
        names = await pipe.execute() if found else []
    return [
        Token(digest[:ID_LENGTH].decode(), name.decode(), int(until))
        for (digest, until), name in zip(found, names, strict=True)
        if name is not None
    ]


async def withdraw(redis: Redis, id: str) -> bool:
    """Makes a token worth nothing, by its id. False if there is none that can be used."""
    for digest in await redis.zrange(TOKENS, 0, -1):
        if digest[:ID_LENGTH].decode() == id:
            async with redis.pipeline() as pipe:
                pipe.delete(_of_digest(digest.decode()))
                pipe.zrem(TOKENS, digest)
                return bool((await pipe.execute())[0])
    return False


def _token(token: str) -> str:
    return _of_digest(enrolling.digest(token))


def _of_digest(digest: str) -> str:
    return f"d4:{{sensors}}:token:{digest}"
