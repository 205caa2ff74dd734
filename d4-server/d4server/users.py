"""The people who administer this server, in Redis, so that several servers share them.

All keys are of one slot of a Redis Cluster. ``d4:{admin}:user:<name>`` is a hash; times are seconds since
the epoch, and what is not set is not there.

- ``role``, ``hash`` (argon2, of the password), ``created``, ``login`` (the last), ``disabled`` (since
  when).
- ``must_change`` while the password is one that somebody else has seen.
- ``id``: random, so that nothing that belonged to a user belongs to a later one of the same name;
  ``epoch``: random, another one with whatever ends the user's sessions.
- ``totp``, ``totp_step``, ``totp_wanted``, ``totp_wanted_until``: see second_factor.py.

``d4:{admin}:users`` is the set of all names, ``d4:{admin}:admins`` of those whose role is admin and who are
not disabled. That one is never empty again: each change is a script that looks before it changes anything.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from typing import NamedTuple

from redis.asyncio import Redis

from d4common import passwords
from d4common.journal import FIRST_PASSWORD
from d4server.actor import Role
from d4server.sensors import Refused

log = logging.getLogger(__name__)

ALL = "d4:{admin}:users"
ADMINS = "d4:{admin}:admins"
MOST = 1000
FIRST = "admin"
"""The name of the user that there is at first."""

COMMAND = "root"
"""Who uses the command, in the audit trail; nobody else has this name."""

NAME = "[a-z0-9][a-z0-9._@+-]{0,63}"
NAME_MEANING = "1 to 64 small letters, digits, or any of . _ @ + - (not first)"

_CREATE = """
-- KEYS: user, all users, admins. ARGV: name, role, id, hash, epoch, now, most users.
if redis.call('EXISTS', KEYS[1]) == 1 then return 'taken' end
if redis.call('SCARD', KEYS[2]) >= tonumber(ARGV[7]) then return 'full' end
redis.call('HSET', KEYS[1], 'role', ARGV[2], 'id', ARGV[3], 'hash', ARGV[4], 'epoch', ARGV[5])
redis.call('HSET', KEYS[1], 'created', ARGV[6], 'must_change', 1)
redis.call('SADD', KEYS[2], ARGV[1])
if ARGV[2] == 'admin' then redis.call('SADD', KEYS[3], ARGV[1]) end
return 'done'
"""

_CHANGE = """
-- KEYS: user, admins. ARGV: name, then fields and values; an empty value takes its field away.
if redis.call('EXISTS', KEYS[1]) == 0 then return 'unknown' end
local new = {}
for n = 2, #ARGV, 2 do new[ARGV[n]] = ARGV[n + 1] end
local role = new.role or redis.call('HGET', KEYS[1], 'role')
local disabled = new.disabled or redis.call('HGET', KEYS[1], 'disabled') or ''
local admin = role == 'admin' and disabled == ''
local was = redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 1
if was and not admin and redis.call('SCARD', KEYS[2]) == 1 then return 'last' end
for field, value in pairs(new) do
  if value == '' then redis.call('HDEL', KEYS[1], field) else redis.call('HSET', KEYS[1], field, value) end
end
if admin ~= was then redis.call(admin and 'SADD' or 'SREM', KEYS[2], ARGV[1]) end
return 'done'
"""

_DELETE = """
-- KEYS: user, all users, admins, recovery codes. ARGV: name.
if redis.call('EXISTS', KEYS[1]) == 0 then return 'unknown' end
if redis.call('SISMEMBER', KEYS[3], ARGV[1]) == 1 and redis.call('SCARD', KEYS[3]) == 1 then return 'last' end
redis.call('DEL', KEYS[1], KEYS[4])
redis.call('SREM', KEYS[2], ARGV[1])
redis.call('SREM', KEYS[3], ARGV[1])
return 'done'
"""

_REFUSALS = {
    "taken": "there is a user {name} already",
    "full": f"there are {MOST} users already, and no more are kept",
    "unknown": "there is no user {name}",
    "last": "{name} is the only admin who can log in; make another one first",
}


class User(NamedTuple):
    """A user as an admin sees it. Times are seconds since the epoch, 0 for never."""

    name: str
    role: Role
    disabled: bool
    must_change: bool
    totp: bool
    created: int
    last_login: int


class Standing(NamedTuple):
    """What holds for a user at the moment, for those who let somebody in as that user."""

    id: str
    role: Role
    hash: str
    epoch: str
    must_change: bool
    totp: bool


def parse_name(text: str) -> str:
    """A user's name, in small letters. Raises ValueError."""
    name = text.lower()
    if not re.fullmatch(NAME, name):
        raise ValueError(f"must be {NAME_MEANING}")
    if name == COMMAND:
        raise ValueError(f"must not be {COMMAND}, which stands for who uses the command")
    return name


async def make_first(redis: Redis) -> None:
    """Makes an admin where there is no user yet, and says the password in the journal, once."""
    if await redis.exists(ALL):
        return
    password = passwords.random_password()
    if await _create(redis, FIRST, Role.ADMIN, password, most=1) == "done":
        log.warning(
            "the first password of the administration's page, for user %s: %s (to be changed at the first "
            "login; `d4-server users reset-password %s` makes another)",
            *(FIRST, password, FIRST),
            extra={"MESSAGE_ID": FIRST_PASSWORD},
        )


async def create(redis: Redis, name: str, role: Role) -> str:
    """Makes a user; the first password, which must be changed at the first login. Raises Refused."""
    password = passwords.random_password()
    _check(await _create(redis, name, role, password, MOST), name)
    return password


async def _create(redis: Redis, name: str, role: Role, password: str, most: int) -> str:
    hash = await passwords.aside(passwords.hashed, password)
    values = (name, role.value, _random(), hash, _random(), int(time.time()), most)
    outcome: bytes = await redis.eval(_CREATE, 3, record_of(name), ALL, ADMINS, *values)
    return outcome.decode()


async def set_role(redis: Redis, name: str, role: Role) -> None:
    """Gives a user another role, and ends the user's sessions. Raises Refused."""
    await change(redis, name, role=role.value, epoch=_random())


async def disable(redis: Redis, name: str) -> None:
    """Ends a user's sessions; neither the password nor a token lets in any more. Raises Refused."""
    await change(redis, name, disabled=str(int(time.time())), epoch=_random())


async def enable(redis: Redis, name: str) -> None:
    """Lets in a user again who was disabled. Raises Refused."""
    await change(redis, name, disabled="")


async def reset_password(redis: Redis, name: str) -> str:
    """Another password, which must be changed at the next login. Ends all sessions. Raises Refused."""
    password = passwords.random_password()
    hash = await passwords.aside(passwords.hashed, password)
    await change(redis, name, hash=hash, must_change="1", epoch=_random())
    return password


async def set_password(redis: Redis, name: str, password: str) -> None:
    """Takes the password that the user has chosen. Ends all sessions, also the one it is done by."""
    hash = await passwords.aside(passwords.hashed, password)
    await change(redis, name, hash=hash, must_change="", epoch=_random())


async def logged_in(redis: Redis, name: str) -> None:
    """Takes note of a login. Raises Refused."""
    await change(redis, name, login=str(int(time.time())))


async def delete(redis: Redis, name: str) -> None:
    """Forgets a user, and with the user all sessions and tokens. Raises Refused."""
    keys = (record_of(name), ALL, ADMINS, recovery_codes_of(name))
    _check((await redis.eval(_DELETE, len(keys), *keys, name)).decode(), name)


async def change(redis: Redis, name: str, **fields: str) -> None:
    """Sets fields of a user's record; an empty value takes one away. Raises Refused."""
    pairs = [text for pair in fields.items() for text in pair]
    _check((await redis.eval(_CHANGE, 2, record_of(name), ADMINS, name, *pairs)).decode(), name)


async def known(redis: Redis) -> list[User]:
    """All users, sorted by name."""
    names = sorted(name.decode() for name in await redis.smembers(ALL))
    async with redis.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.hgetall(record_of(name))
        records = await pipe.execute()
    return [_user(name, record) for name, record in zip(names, records, strict=True) if record]


async def find(redis: Redis, name: str) -> User | None:
    """A user, if there is one of this name."""
    record = await redis.hgetall(record_of(name))
    return _user(name, record) if record else None


async def standing(redis: Redis, name: str) -> Standing | None:
    """What holds for a user; None where there is none, and for one who is disabled."""
    fields = ("id", "role", "hash", "epoch", "must_change", "totp", "disabled")
    id, role, hash, epoch, must_change, totp, disabled = await redis.hmget(record_of(name), fields)
    if id is None or disabled:
        return None
    return Standing(
        *(id.decode(), Role(role.decode()), hash.decode(), epoch.decode()), bool(must_change), bool(totp)
    )


async def hash_of(redis: Redis, name: str) -> str | None:
    """The hash of the password that lets a user in now."""
    found = await standing(redis, name)
    return found.hash if found else None


def _user(name: str, record: dict[bytes, bytes]) -> User:
    return User(
        name,
        Role(record[b"role"].decode()),
        b"disabled" in record,
        b"must_change" in record,
        b"totp" in record,
        int(record[b"created"]),
        int(record.get(b"login", 0)),
    )


def _check(outcome: str, name: str) -> None:
    """Raises Refused unless a script has done what was asked."""
    if outcome != "done":
        raise Refused(_REFUSALS[outcome].format(name=name))


def unknown(name: str) -> Refused:
    """There is no such user, or the user is disabled."""
    return Refused(f"there is no user {name}, or the user is disabled")


def _random() -> str:
    return secrets.token_hex(8)


def record_of(name: str) -> str:
    """The key in Redis of a user's record."""
    return f"d4:{{admin}}:user:{name}"


def recovery_codes_of(name: str) -> str:
    """The key in Redis of the set of a user's recovery codes, as their SHA-256."""
    return f"d4:{{admin}}:recovery:{name}"
