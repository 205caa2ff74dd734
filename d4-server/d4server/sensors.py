"""The sensors that this server knows: their keys, in Redis, so that several servers share them.

``d4:{sensors}:<uuid>`` is a hash. All times are seconds since the epoch. The braces keep what is about
sensors on one node of a Redis Cluster, since much of it changes in one step.

- ``key``: the HMAC key, as it must be to check an HMAC; ``added``: since when; ``name``: what an
  administrator calls the sensor, if anything.
- ``former``, ``former_until``: the key before, and until when it is valid too. ``renewing`` is there
  while the sensor is not known to have taken over the new one.
- ``source``: by what it came in: ``added``, ``approved``, ``token``, or ``shared-secret``, which is its key
  until it gets another.
- ``revoked``: since when the sensor is locked out; then there is no key.
- ``claim``, ``claim_until``, ``origin``: of a sensor that enrols; see admission.py.
- ``offered``: the key of one that somebody has registered and that waits for approval; it is none before.
- ``description``, ``mail``, ``third_party``: what administrators and who registers it say about it.

``d4:{sensors}`` is the set of the UUIDs of all that have a key, are registered or are revoked. Beside it are
hashes by UUID of what only few have: ``d4:{sensors}:caps`` (caps.py), ``:silence`` and ``:silent``
(monitoring.py).
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from d4common import config, enrolling
from d4common.config import option, section
from d4common.records import REPLICA_TIME, NotReplicated
from d4common.sender import Identity

ALL = "d4:{sensors}"

PENDING = "d4:{sensors}:pending"
"""Sorted set of the UUIDs that wait for approval, by the time of their request."""

CAPS, SILENCE, SILENT = "d4:{sensors}:caps", "d4:{sensors}:silence", "d4:{sensors}:silent"

WRITTEN = "d4:{sensors}:written"
"""Written to be waited for; it holds nothing."""

FORMER_LIFETIME = 86400
"""Seconds for which a key stays valid after another one took its place."""

_KEY_FIELDS = ("key", "former", "former_until", "renewing")

_SHOWN_FIELDS = ("name", "source", "added", "key", "revoked", "claim", "offered")

_ROTATE = """
-- KEYS: sensor. ARGV: key that it has proved to have, new key, until when the former stays valid.
local key, former, renewing = unpack(redis.call('HMGET', KEYS[1], 'key', 'former', 'renewing'))
if key == ARGV[1] then
  redis.call('HSET', KEYS[1], 'key', ARGV[2], 'former', key, 'former_until', ARGV[3], 'renewing', 1)
  return ARGV[2]
end
return former == ARGV[1] and renewing and key
"""


_REGISTER = """
-- KEYS: sensor. ARGV: shared secret, now.
if redis.call('HEXISTS', KEYS[1], 'revoked') == 1 then return 0 end
local key = redis.call('HGET', KEYS[1], 'key')
if key then return key == ARGV[1] and 1 or 0 end
redis.call('HSET', KEYS[1], 'key', ARGV[1], 'added', ARGV[2], 'source', 'shared-secret')
redis.call('HDEL', KEYS[1], 'claim', 'offered')
return 1
"""

_SAY = """
-- KEYS: sensor. ARGV: fields and values. Whoever has a record alone gets it, since a record makes a sensor.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1
"""


class Refused(Exception):
    """What was asked for a sensor cannot be; the message says why and what can."""


class Sensor(NamedTuple):
    """A sensor as an administrator sees it: ``state`` is approved, pending or revoked."""

    uuid: UUID
    name: str
    state: str
    source: str
    """By what it came in, as its record has it; empty where it has not, or its record does not say."""
    added: int
    code: str
    """Of one that is pending, what it shows too."""


@dataclass(frozen=True)
class _Identity:
    uuid: UUID | None = option(config.uuid4, None, "The sensor's UUID.")
    key: str | None = option(config.text, None, "The sensor's key.", secret=True)


@dataclass(frozen=True)
class _IdentityFile:
    d4: _Identity = section(_Identity)


def read_identity(path: Path) -> Identity:
    """The UUID and key in a drop-in such as `d4-sensor identity` writes. Raises config.ConfigError."""
    d4 = config.load(_IdentityFile, [path]).value.d4
    if d4.uuid is None or d4.key is None:
        raise config.ConfigError([f"{path}: [d4] must set uuid and key"])
    return Identity(d4.uuid, d4.key.encode())


def new_key() -> bytes:
    """A random key, 256 bits as 64 hexadecimal digits: text that every D4 client takes as it is."""
    return secrets.token_hex(32).encode()


async def add(redis: Redis, identity: Identity) -> None:
    """Lets a sensor in with its key, or gives it another one. Raises Refused where it is revoked."""
    record = record_of(identity.uuid)
    key, origin, revoked = await redis.hmget(record, "key", "origin", "revoked")
    if revoked:
        raise Refused(f"{identity.uuid} is revoked; `d4-server sensors remove {identity.uuid}` forgets that")
    if key == identity.key:
        return  # it may have another one that is valid, and a name
    async with redis.pipeline() as pipe:
        pipe.hset(record, mapping={"key": identity.key, "added": int(time.time()), "source": "added"})
        pipe.hdel(record, "former", "former_until", "renewing", "claim", "offered")
        enlist(pipe, identity.uuid, origin)
        await pipe.execute()


async def register(redis: Redis, sensor: UUID, secret: bytes) -> bool:
    """Lets in a sensor that has proved to have the shared secret, as its key from now on.

    False where it is revoked, or has got another key meanwhile.
    """
    record = record_of(sensor)
    if not await redis.eval(_REGISTER, 1, record, secret, int(time.time())):
        return False
    origin = await redis.hget(record, "origin")
    async with redis.pipeline() as pipe:
        enlist(pipe, sensor, origin)
        await pipe.execute()
    return True


async def remove(redis: Redis, sensor: UUID) -> bool:
    """Forgets a sensor, or its request to be let in. False if there was neither."""
    record = record_of(sensor)
    origin = await redis.hget(record, "origin")
    async with redis.pipeline() as pipe:
        pipe.delete(record)
        pipe.srem(ALL, str(sensor))
        for key in (CAPS, SILENCE, SILENT):
            pipe.hdel(key, str(sensor))
        _end_waiting(pipe, sensor, origin)
        return bool((await pipe.execute())[0])


async def revoke(redis: Redis, sensor: UUID) -> bool:
    """Locks a sensor out, whether it was in or waits for that. False if there is none."""
    record = record_of(sensor)
    *ways, origin = await redis.hmget(record, "key", "claim", "offered", "revoked", "origin")
    if not any(ways):
        return False
    async with redis.pipeline() as pipe:
        pipe.hset(record, "revoked", int(time.time()))
        pipe.hdel(record, *_KEY_FIELDS, "claim", "offered")
        enlist(pipe, sensor, origin)
        await pipe.execute()
    return True


async def say(redis: Redis, sensor: UUID, **about: str) -> bool:
    """Puts down what is said about a sensor: ``name``, ``description``. False if there is none."""
    said = [text for pair in about.items() for text in pair]
    return bool(await redis.eval(_SAY, 1, record_of(sensor), *said))


async def known(redis: Redis) -> list[Sensor]:
    """All sensors, those that wait too, sorted by UUID."""
    uuids = sorted({*await redis.smembers(ALL), *await redis.zrange(PENDING, 0, -1)})
    async with redis.pipeline(transaction=False) as pipe:
        for uuid in uuids:
            pipe.hmget(record_of(UUID(uuid.decode())), *_SHOWN_FIELDS)
        records = await pipe.execute()
    found = (_sensor(UUID(uuid.decode()), *record) for uuid, record in zip(uuids, records, strict=True))
    return [sensor for sensor in found if sensor is not None]


def _sensor(
    uuid: UUID,
    name: bytes | None,
    source: bytes | None,
    added: bytes | None,
    key: bytes | None,
    revoked: bytes | None,
    claim: bytes | None,
    offered: bytes | None,
) -> Sensor | None:
    """A sensor in its record; None for a request that was forgotten meanwhile."""
    text, by, since = (name or b"").decode(), (source or b"").decode(), int(added or 0)
    if revoked:
        return Sensor(uuid, text, "revoked", by, since, "")
    if key:
        return Sensor(uuid, text, "approved", by, since, "")
    if claim or offered:
        return Sensor(uuid, text, "pending", by, since, enrolling.code(claim.decode()) if claim else "")
    return None


async def replicated(redis: Redis, replicas: int) -> None:
    """Returns when so many replicas have what was written of sensors until now. Raises NotReplicated.

    For a key that a sensor is given: a replica that takes over must know it.
    """
    if not replicas:
        return
    async with redis.pipeline(transaction=False) as pipe:
        pipe.set(WRITTEN, "")  # Redis waits for the last write of the connection, so that there must be one
        pipe.wait(replicas, REPLICA_TIME)
        _, count = await pipe.execute()
    if count < replicas:
        raise NotReplicated(f"fewer than {replicas} replicas have what it stores")


async def keys_of(redis: Redis, sensor: UUID) -> tuple[bytes, ...]:
    """The keys of a sensor that are valid, the newest first: none if it may not connect."""
    key, former, until, _ = await redis.hmget(record_of(sensor), *_KEY_FIELDS)
    if key is None:
        return ()
    return (key, former) if former and time.time() < int(until) else (key,)


async def renew(redis: Redis, sensor: UUID, proved: bytes) -> bytes:
    """Another key for a sensor that has proved to have one of those that are valid. Raises Refused.

    One that asks again, because the answer was lost, gets the same until settle() was called.
    """
    until = int(time.time()) + FORMER_LIFETIME
    key: bytes | None = await redis.eval(_ROTATE, 1, record_of(sensor), proved, new_key(), until)
    if not key:
        raise Refused("this key was replaced by another one, which the sensor has written to its disk")
    return key


async def settle(redis: Redis, sensor: UUID) -> None:
    """The sensor has its key on its disk, and will not ask for the same again."""
    await redis.hdel(record_of(sensor), "renewing", "claim", "claim_until")


async def rotate(redis: Redis, sensor: UUID) -> bytes:
    """Another key, for an administrator to take to the sensor. Raises Refused."""
    key, former, until, renewing = await redis.hmget(record_of(sensor), *_KEY_FIELDS)
    if key is None:
        raise unknown(sensor)
    if former and renewing and time.time() < int(until):
        raise Refused(
            f"{sensor} was given another key within a day and may not have it yet; "
            f"`d4-sensor renew` there fetches it, `d4-server sensors add {sensor}` makes the only valid one"
        )
    return await renew(redis, sensor, key)


def unknown(sensor: UUID) -> Refused:
    """There is no such sensor, or it may not connect."""
    return Refused(f"{sensor} is not a sensor that may connect; `d4-server sensors list` shows them")


def enlist(pipe: Pipeline, sensor: UUID, origin: bytes | None) -> None:
    """Has a sensor stay that may have waited, from this origin: with a key, or revoked."""
    pipe.persist(record_of(sensor))
    pipe.sadd(ALL, str(sensor))
    _end_waiting(pipe, sensor, origin)


def _end_waiting(pipe: Pipeline, sensor: UUID, origin: bytes | None) -> None:
    pipe.zrem(PENDING, str(sensor))
    pipe.zrem(waiting_from(origin), str(sensor))


def record_of(sensor: UUID) -> str:
    """The key in Redis of a sensor's record."""
    return f"d4:{{sensors}}:{sensor}"


def waiting_from(origin: bytes | None) -> str:
    """The key in Redis of the sorted set of those that wait, from one origin."""
    return f"{PENDING}:{(origin or b'').decode()}"
