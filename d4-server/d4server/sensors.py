"""The sensors that this server knows: their keys, in Redis, so that several servers share them.

``d4:sensor:<uuid>`` is a hash with ``key`` (the HMAC key, as it must be to check an HMAC) and ``added``
(seconds since the epoch); ``d4:sensors`` is the set of all UUIDs.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from redis.asyncio import Redis

from d4common import config
from d4common.config import option, section
from d4common.sender import Identity

ALL = "d4:sensors"


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
    """Lets a sensor in with its key, or gives it another one."""
    async with redis.pipeline(transaction=False) as pipe:
        pipe.hset(_name(identity.uuid), mapping={"key": identity.key, "added": int(time.time())})
        pipe.sadd(ALL, str(identity.uuid))
        await pipe.execute()


async def remove(redis: Redis, sensor: UUID) -> bool:
    """Locks a sensor out at its next connection. False if it was not known."""
    async with redis.pipeline(transaction=False) as pipe:
        pipe.delete(_name(sensor))
        pipe.srem(ALL, str(sensor))
        return bool((await pipe.execute())[0])


async def known(redis: Redis) -> list[UUID]:
    """All sensors that may connect, sorted."""
    return sorted(UUID(member.decode()) for member in await redis.smembers(ALL))


async def key_of(redis: Redis, sensor: UUID) -> bytes | None:
    """The key of a sensor, or None if it is not known."""
    key: bytes | None = await redis.hget(_name(sensor), "key")
    return key


def _name(sensor: UUID) -> str:
    return f"d4:sensor:{sensor}"
