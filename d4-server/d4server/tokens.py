"""Tokens by which programs use the API: each belongs to a user, has a role of its own, and expires.

``d4:{admin}:token:<id>`` is a hash: ``digest`` (SHA-256 of the token; the id is its beginning), ``user``,
``owner`` (the user's id), ``name``, ``role``, ``created``, ``expires``, ``used`` (seconds since the epoch).
It goes away when it has expired. ``d4:{admin}:tokens:<user>`` is a sorted set of ids by the time at which
they do.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from redis.asyncio import Redis
from redis.exceptions import RedisError

from d4common.logins import TooManyAttempts
from d4common.origins import origin_of
from d4server import users
from d4server.actor import Actor, Role
from d4server.sensors import Refused

PREFIX = "d4_"
"""By which people and programs that look for secrets know what it is."""

MOST = 100
"""Tokens of one user."""

MOST_WRONG, FORGET = 20, 300.0
"""Wrong tokens that an address may send in so many seconds before it is told to wait."""

MOST_ADDRESSES = 10_000

TOUCH = 60
"""Seconds after which its next use is written down."""


class Token(NamedTuple):
    """A token as its user and admins see it: ``id`` does not let in. Times are seconds since the epoch."""

    id: str
    user: str
    name: str
    role: Role
    created: int
    expires: int
    last_used: int
    """0 for never."""


class NewToken(NamedTuple):
    """A token that was just made; ``token`` is shown this once."""

    id: str
    token: str
    expires: int


class _Wrong:
    """Which addresses have sent wrong tokens lately, how often, and since when."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, float]] = {}

    def count(self, address: str) -> int:
        """Counts one more; how many it were since the first of them."""
        origin, now = origin_of(address), time.monotonic()
        count, since = self._seen.pop(origin, (0, now))
        if now - since > FORGET:
            count, since = 0, now
        self._seen[origin] = (count + 1, since)
        if len(self._seen) > MOST_ADDRESSES:
            del self._seen[next(iter(self._seen))]
        return count + 1


_wrong = _Wrong()


async def make(redis: Redis, user: str, name: str, role: Role, valid: float) -> NewToken:
    """A token for a user, with a role that the user's covers, for ``valid`` seconds. Raises Refused."""
    standing = await users.standing(redis, user)
    if standing is None:
        raise users.unknown(user)
    if not standing.role.covers(role):
        raise Refused(f"{user} is {standing.role} and cannot have a token that is {role}")
    if len(await listed(redis, [user])) >= MOST:
        raise Refused(f"{user} has {MOST} tokens already; revoke one first")
    token, now = PREFIX + secrets.token_urlsafe(32), int(time.time())
    id, digest = _id_of(token)
    expires = now + int(valid)
    record: dict[str, str | int] = {
        "digest": digest,
        "user": user,
        "owner": standing.id,
        "name": name,
        "role": role.value,
        "created": now,
        "expires": expires,
    }
    async with redis.pipeline() as pipe:
        pipe.hset(_record(id), mapping=record)
        pipe.expireat(_record(id), expires)
        pipe.zadd(_index(user), {id: expires})
        pipe.zremrangebyscore(_index(user), "-inf", now)
        await pipe.execute()
    return NewToken(id, token, expires)


async def actor_of_token(redis: Redis, token: str, address: str) -> Actor | None:
    """Who it is that sends this token; None where it is wrong, has expired or was revoked.

    Raises TooManyAttempts instead for an address that has sent many that were wrong. One that is right lets
    in from there too: it cannot be guessed, and others may have the same address.
    """
    actor = await _actor(redis, token, address)
    if actor is None and _wrong.count(address) > MOST_WRONG:
        raise TooManyAttempts
    return actor


async def _actor(redis: Redis, token: str, address: str) -> Actor | None:
    id, digest = _id_of(token)
    record = await redis.hgetall(_record(id))
    if not hmac.compare_digest(record.get(b"digest", b""), digest.encode()):
        return None
    user, role = record[b"user"].decode(), Role(record[b"role"].decode())
    standing = await users.standing(redis, user)
    if standing is None or standing.id.encode() != record[b"owner"] or not standing.role.covers(role):
        return None
    now = int(time.time())
    if now - int(record.get(b"used", 0)) >= TOUCH:
        with suppress(RedisError):  # a Redis that is full does not keep anybody out
            async with redis.pipeline() as pipe:
                pipe.hset(_record(id), "used", now)
                pipe.expireat(_record(id), int(record[b"expires"]))  # where it was revoked in this moment
                await pipe.execute()
    return Actor(user, role, address, f"token {id}")


async def listed(redis: Redis, names: Sequence[str]) -> list[Token]:
    """The tokens of these users, the newest first, without those that have expired."""
    async with redis.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.hget(users.record_of(name), "id")
            pipe.zrange(_index(name), 0, -1)
        found = await pipe.execute()
    owned = [(owner, id.decode()) for owner, ids in zip(found[::2], found[1::2], strict=True) for id in ids]
    async with redis.pipeline(transaction=False) as pipe:
        for _, id in owned:
            pipe.hgetall(_record(id))
        records = await pipe.execute()
    tokens = [
        _token(id, record)
        for (owner, id), record in zip(owned, records, strict=True)
        if b"digest" in record and record[b"owner"] == owner
    ]
    return sorted(tokens, key=lambda token: (-token.created, token.name))


async def owner_of(redis: Redis, id: str) -> str | None:
    """The name of the user to whom a token belongs; None where there is no such token."""
    name = await redis.hget(_record(id), "user")
    return name.decode() if name else None


async def revoke(redis: Redis, user: str, id: str) -> bool:
    """Ends a token of a user. False if the user has none of this id."""
    if not await redis.zrem(_index(user), id):
        return False
    return bool(await redis.delete(_record(id)))


def _token(id: str, record: dict[bytes, bytes]) -> Token:
    return Token(
        *(id, record[b"user"].decode(), record[b"name"].decode(), Role(record[b"role"].decode())),
        *(int(record[b"created"]), int(record[b"expires"]), int(record.get(b"used", 0))),
    )


def _id_of(token: str) -> tuple[str, str]:
    """Id and digest of a token."""
    digest = hashlib.sha256(token.encode(errors="replace")).hexdigest()
    return digest[:16], digest


def _record(id: str) -> str:
    return f"d4:{{admin}}:token:{id}"


def _index(user: str) -> str:
    return f"d4:{{admin}}:tokens:{user}"
