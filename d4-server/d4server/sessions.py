"""Who has logged in: sessions of the page, in Redis, so that they outlive a restart and can be ended.

``d4:{admin}:session:<id>`` is a hash, and goes away by itself when the session ends: ``digest`` (SHA-256 of
the token that the browser has; the id is its beginning), ``user``, ``epoch`` (the user's when it was
opened: with another one the session has ended), ``created``, ``used``, ``address``, ``agent``, ``wrong``
(passwords or codes that were), ``half`` where the code of the second factor is still to come.
``d4:{admin}:sessions:<user>`` is a sorted set of ids by the time at which they were opened.

A session is not bound to an address: a phone has another one in each network.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from contextlib import suppress
from typing import NamedTuple

from redis.asyncio import Redis
from redis.exceptions import RedisError

from d4server import users
from d4server.actor import Actor
from d4server.users import Standing

LIFETIME, IDLE, HALF = 12 * 3600, 2 * 3600, 300
"""Seconds after which a session ends: in any case, when nobody uses it, and without its code."""

MOST = 20
"""Sessions of one user; one more ends the oldest."""

MOST_WRONG = 5
"""Passwords and codes that may be wrong in one session: the next try ends it."""

TOUCH = 60
"""Seconds after which its next use is written down."""

LONGEST_AGENT = 120

_TRY = """
-- KEYS: session. ARGV: 1 before a try, -1 after one that was right; the most that may be wrong.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if redis.call('HINCRBY', KEYS[1], 'wrong', ARGV[1]) <= tonumber(ARGV[2]) then return 1 end
redis.call('DEL', KEYS[1])
return 0
"""


class Session(NamedTuple):
    """A session that is in use. Its user may do nothing else while the password ``must_change``."""

    id: str
    actor: Actor
    must_change: bool
    csrf: str
    """What forms have in them, so that no other site's page can send them."""


class Listed(NamedTuple):
    """A session as its user and admins see it. Times are seconds since the epoch."""

    id: str
    created: int
    last_used: int
    address: str
    agent: str


async def open(
    redis: Redis, name: str, standing: Standing, address: str, agent: str, half: bool = False
) -> str:
    """A new session's token, for a user of whom this holds. ``half``: it is only good for giving the code."""
    for oldest in list(await _alive(redis, name))[MOST - 1 :]:
        await end(redis, name, oldest)
    token, now = secrets.token_urlsafe(32), int(time.time())
    id, digest = _id_of(token)
    record = {"digest": digest, "user": name, "epoch": standing.epoch, "created": now, "used": now}
    record |= {"address": address, "agent": _short(agent)} | ({"half": 1} if half else {})
    async with redis.pipeline() as pipe:
        pipe.hset(_record(id), mapping=record)
        pipe.expire(_record(id), HALF if half else IDLE)
        pipe.zadd(_index(name), {id: now})
        pipe.expire(_index(name), LIFETIME)
        await pipe.execute()
    return token


async def session_of(redis: Redis, token: str, address: str, used: bool = True) -> Session | None:
    """The session that a browser's cookie stands for, used from this address; None where it has ended.

    It is not ``used`` by what a page asks for by itself: that keeps nobody logged in who went away.
    """
    record = await _read(redis, token)
    if record is None or b"half" in record:
        return None
    name, (id, _) = record[b"user"].decode(), _id_of(token)
    standing = await _standing(redis, record)
    if standing is None:
        return None
    if used:
        await _touch(redis, id, record, address)
    actor = Actor(name, standing.role, address, f"session {id}")
    return Session(id, actor, standing.must_change, csrf_of(token))


async def actor_of_session(redis: Redis, token: str, address: str) -> Actor | None:
    """Who it is, unless the password must be changed before anything else."""
    session = await session_of(redis, token, address)
    return None if session is None or session.must_change else session.actor


async def half_of(redis: Redis, token: str) -> tuple[str, Standing] | None:
    """Whose code is still to come in this session: the user's name, and what holds for the user."""
    record = await _read(redis, token)
    if record is None or b"half" not in record:
        return None
    standing = await _standing(redis, record)
    return (record[b"user"].decode(), standing) if standing else None


async def listed(redis: Redis, name: str) -> list[Listed]:
    """A user's sessions, the newest first, without those that have ended or that lack their code."""
    return [
        Listed(
            id, int(each[b"created"]), int(each[b"used"]), each[b"address"].decode(), each[b"agent"].decode()
        )
        for id, each in (await _alive(redis, name)).items()
        if b"half" not in each
    ]


async def _alive(redis: Redis, name: str) -> dict[str, dict[bytes, bytes]]:
    """The records of a user's sessions by id, the newest first; what has ended is cleared away."""
    ids = [id.decode() for id in await redis.zrevrange(_index(name), 0, -1)]
    if not ids:
        return {}
    async with redis.pipeline(transaction=False) as pipe:
        for id in ids:
            pipe.hgetall(_record(id))
        records = dict(zip(ids, await pipe.execute(), strict=True))
    standing = await users.standing(redis, name)
    epoch = standing.epoch.encode() if standing else b""
    ended = [id for id, record in records.items() if record.get(b"epoch") != epoch]
    if ended:
        async with redis.pipeline() as pipe:
            pipe.delete(*map(_record, ended))
            pipe.zrem(_index(name), *ended)
            await pipe.execute()
    return {id: record for id, record in records.items() if id not in ended}


async def end(redis: Redis, name: str, id: str) -> bool:
    """Ends a session of a user. False if the user has none of this id."""
    if not await redis.zrem(_index(name), id):
        return False
    return bool(await redis.delete(_record(id)))


async def close(redis: Redis, token: str) -> None:
    """Ends the session that a browser's cookie stands for, if it does."""
    record = await _read(redis, token)
    if record is not None:
        await end(redis, record[b"user"].decode(), _id_of(token)[0])


async def may_try(redis: Redis, id: str) -> bool:
    """Whether a password or code may be tried in this session; called before it is looked at.

    So whoever has somebody's session finds out no more about the password than by MOST_WRONG guesses.
    """
    return bool(await redis.eval(_TRY, 1, _record(id), 1, MOST_WRONG))


async def was_right(redis: Redis, id: str) -> None:
    """What may_try() allowed was right, and does not count."""
    await redis.eval(_TRY, 1, _record(id), -1, MOST_WRONG)


def id_of(token: str) -> str:
    """By what a session can be named: it does not let in."""
    return _id_of(token)[0]


def csrf_of(token: str) -> str:
    """What belongs in the forms of a session."""
    return hmac.digest(token.encode(errors="replace"), b"d4-server forms", "sha256").hex()


async def _read(redis: Redis, token: str) -> dict[bytes, bytes] | None:
    id, digest = _id_of(token)
    record: dict[bytes, bytes] = await redis.hgetall(_record(id))
    return record if hmac.compare_digest(record.get(b"digest", b""), digest.encode()) else None


async def _standing(redis: Redis, record: dict[bytes, bytes]) -> Standing | None:
    """What holds for a session's user; None where something has ended the user's sessions since."""
    standing = await users.standing(redis, record[b"user"].decode())
    return standing if standing and standing.epoch.encode() == record[b"epoch"] else None


async def _touch(redis: Redis, id: str, record: dict[bytes, bytes], address: str) -> None:
    """Writes down that it is in use, now and then; a Redis that is full does not end it."""
    now = int(time.time())
    if now - int(record[b"used"]) < TOUCH and record[b"address"] == address.encode():
        return
    left = int(record[b"created"]) + LIFETIME - now
    with suppress(RedisError):
        async with redis.pipeline() as pipe:
            pipe.hset(_record(id), mapping={"used": now, "address": address})
            pipe.expire(_record(id), min(IDLE, left))
            await pipe.execute()


def _id_of(token: str) -> tuple[str, str]:
    """Id and digest of a token."""
    digest = hashlib.sha256(token.encode(errors="replace")).hexdigest()
    return digest[:16], digest


def _short(agent: str) -> str:
    """What a browser calls itself, printable and not too long."""
    return "".join(each if each.isprintable() else "?" for each in agent[:LONGEST_AGENT])


def _record(id: str) -> str:
    return f"d4:{{admin}}:session:{id}"


def _index(name: str) -> str:
    return f"d4:{{admin}}:sessions:{name}"
