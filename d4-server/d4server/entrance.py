"""Logging in: the password, then the code of the second factor where there is one."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import NamedTuple

from redis.asyncio import Redis

from d4common.journal import Repeats
from d4common.logins import Logins
from d4common.origins import origin_of
from d4server import audit, second_factor, sessions, users
from d4server.actor import Actor, Role
from d4server.audit import DONE, REFUSED
from d4server.sensors import Refused
from d4server.users import Standing

STRANGER = "(nobody)"
"""Who it is in the audit trail where there is no such user: what was typed may be a password."""


class Opened(NamedTuple):
    """A session that was opened: ``token`` is for the browser's cookie alone.

    Where it ``needs_code`` it is good for nothing but give_code().
    """

    token: str
    needs_code: bool = False
    must_change: bool = False


class Entrance:
    """The one door of a process for people. Raises what redis-py raises."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._logins = Logins(partial(users.hash_of, redis))
        self._failures = Repeats()

    async def log_in(self, address: str, user: str, password: str, agent: str) -> Opened | None:
        """A session where user and password are right. Raises logins.TooManyAttempts."""
        name = _name(user)
        hash = await self._logins.accept(address, name, password)
        standing = await users.standing(self._redis, name) if hash else None
        if standing is None or standing.hash != hash:  # it may have changed meanwhile
            await self._refuse(address, name, "password")
            return None
        if standing.totp:
            token = await sessions.open(self._redis, name, standing, address, agent, half=True)
            return Opened(token, needs_code=True)
        return await self._open(address, name, standing, agent)

    async def give_code(self, address: str, token: str, code: str, agent: str) -> Opened | None:
        """A session where the code that was still to come is right; it has another token.

        None where it is wrong, or the session has ended: then half_of() is None too.
        """
        half = await sessions.half_of(self._redis, token)
        if half is None or not await sessions.may_try(self._redis, sessions.id_of(token)):
            return None
        name, standing = half
        if not await second_factor.accept(self._redis, name, code):
            await self._refuse(address, name, "code")
            return None
        await sessions.close(self._redis, token)
        return await self._open(address, name, standing, agent)

    async def again(self, address: str, name: str, agent: str) -> Opened:
        """Another session for a user who has just changed the password, which has ended all."""
        standing = await users.standing(self._redis, name)
        if standing is None:
            raise users.unknown(name)
        return Opened(await sessions.open(self._redis, name, standing, address, agent))

    async def log_out(self, token: str) -> None:
        """Ends a session, if it is one."""
        await sessions.close(self._redis, token)

    async def _open(self, address: str, name: str, standing: Standing, agent: str) -> Opened:
        token = await sessions.open(self._redis, name, standing, address, agent)
        with suppress(Refused):  # whoever is deleted in this moment has a session that is none
            await users.logged_in(self._redis, name)
        actor = Actor(name, standing.role, address, f"session {sessions.id_of(token)}")
        await audit.write(self._redis, actor, "login", {}, DONE)
        return Opened(token, must_change=standing.must_change)

    async def _refuse(self, address: str, name: str, wrong: str) -> None:
        """Once a minute for the same user and origin: strangers fill neither the journal nor the trail."""
        found = await users.find(self._redis, name)
        known = name if found else STRANGER
        times = self._failures.held_back((origin_of(address), known, wrong))
        if times is None:
            return
        values = {"wrong": wrong} | ({"times before": times} if times else {})
        actor = Actor(known, found.role if found else Role.VIEWER, address, "login")
        await audit.write(self._redis, actor, "login", values, REFUSED)


def _name(text: str) -> str:
    """The user's name that somebody typed; an empty one, which nobody has, for what cannot be one."""
    try:
        return users.parse_name(text)
    except ValueError:
        return ""
