"""The second factor of a login: codes of an app (RFC 6238), and recovery codes for when that is lost.

In a user's record (users.py), ``totp`` is the secret in hexadecimal digits, ``totp_step`` the time step of
the last code that was taken, ``totp_wanted`` a secret of which no code was seen yet, ``totp_wanted_until``
how long that is waited for. Recovery codes are kept as their SHA-256; each is good for one login.
``d4:{admin}:codes:<user>`` counts the codes that were tried: only who has the password comes that far, so
that nobody else can use them up.
"""

from __future__ import annotations

import hashlib
import re
import time
from typing import NamedTuple

from redis.asyncio import Redis

from d4common import passwords, totp
from d4server import users
from d4server.sensors import Refused

MOST_TRIES, WINDOW = 10, 900
"""Codes that may be tried of one user in so many seconds."""

ENROLMENT_TIME = 600
"""Seconds in which the app must be set up."""

RECOVERY_CODES = 10

_USE = """
-- KEYS: user. ARGV: time step of a code that is right. 1 if it comes after the last that was taken.
if redis.call('HEXISTS', KEYS[1], 'totp') == 0 then return 0 end
if tonumber(redis.call('HGET', KEYS[1], 'totp_step') or -1) >= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'totp_step', ARGV[1])
return 1
"""


class Enrolment(NamedTuple):
    """What an app is set up with; shown once."""

    secret: str
    """In base32, to be typed in."""
    uri: str
    """The same as a link, which apps read as a QR code."""


async def begin(redis: Redis, name: str, issuer: str) -> Enrolment:
    """A secret for the user's app; it counts once confirm() has seen a code of it. Raises Refused."""
    secret = totp.new_secret()
    until = str(int(time.time()) + ENROLMENT_TIME)
    await users.change(redis, name, totp_wanted=secret.hex(), totp_wanted_until=until)
    return Enrolment(totp.text(secret), totp.uri(secret, issuer, name))


async def confirm(redis: Redis, name: str, code: str) -> list[str] | None:
    """Takes the secret over where the code is of it, None otherwise. Raises Refused.

    What it gives are recovery codes, to be shown once.
    """
    record = users.record_of(name)
    wanted, until = await redis.hmget(record, "totp_wanted", "totp_wanted_until")
    if wanted is None or time.time() > int(until):
        raise Refused("no app is being set up, or it took longer than ten minutes; begin again")
    step = totp.step_of(bytes.fromhex(wanted.decode()), code, time.time())
    if step is None:
        return None
    codes = [passwords.random_password(3) for _ in range(RECOVERY_CODES)]
    fields = {"totp": wanted.decode(), "totp_step": str(step)}
    await users.change(redis, name, **fields, totp_wanted="", totp_wanted_until="")
    async with redis.pipeline() as pipe:
        pipe.delete(users.recovery_codes_of(name))
        pipe.sadd(users.recovery_codes_of(name), *map(_digest, codes))
        await pipe.execute()
    return codes


async def remove(redis: Redis, name: str) -> None:
    """From now on the password is enough. Raises Refused."""
    fields = ("totp", "totp_step", "totp_wanted", "totp_wanted_until")
    await users.change(redis, name, **dict.fromkeys(fields, ""))
    await redis.delete(users.recovery_codes_of(name))


async def accept(redis: Redis, name: str, code: str) -> bool:
    """Whether this is the code of now of a user's app, or a recovery code; either is good once."""
    tries = f"d4:{{admin}}:codes:{name}"
    async with redis.pipeline() as pipe:
        pipe.set(tries, 0, ex=WINDOW, nx=True)
        pipe.incr(tries)
        _, count = await pipe.execute()
    if count > MOST_TRIES:
        return False
    right = await _is_code(redis, name, code) or await _is_recovery_code(redis, name, code)
    if right:
        await redis.delete(tries)
    return right


async def left(redis: Redis, name: str) -> int:
    """How many recovery codes a user has left."""
    return int(await redis.scard(users.recovery_codes_of(name)))


async def _is_code(redis: Redis, name: str, code: str) -> bool:
    secret = await redis.hget(users.record_of(name), "totp")
    if secret is None:
        return False
    step = totp.step_of(bytes.fromhex(secret.decode()), code, time.time())
    return step is not None and bool(await redis.eval(_USE, 1, users.record_of(name), step))


async def _is_recovery_code(redis: Redis, name: str, code: str) -> bool:
    return bool(await redis.srem(users.recovery_codes_of(name), _digest(code)))


def _digest(code: str) -> str:
    """The SHA-256 of a recovery code, however it is written."""
    letters = re.sub(r"[\s-]", "", code.lower())
    return hashlib.sha256(letters.encode(errors="replace")).hexdigest()
