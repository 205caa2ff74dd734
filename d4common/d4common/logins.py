"""Who may come in: a password is checked, and guessing made slow, by address and for nobody else.

There is no failure by which a user is locked out, so that nobody can lock out another. An address waits
after its own failures; one that got in lately does not wait for those that never did.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from d4common import passwords
from d4common.origins import origin_of

T = TypeVar("T")

FIRST_WAIT, LONGEST_WAIT = 0.5, 8.0
"""Seconds that an address waits after its first failure: doubled with each, up to the longest."""

FORGET = 900.0
"""Seconds after which the failures of an address are forgotten."""

MOST_WAITING = 10
"""Attempts from one address that may wait; the next is turned away."""

MOST_STRANGERS = 100
"""Attempts that may wait for a hash from all the addresses together that never got in: some seconds."""

MOST_ADDRESSES = 10_000
MOST_FAMILIAR = 1000
MOST_KNOWN = 100


class TooManyAttempts(Exception):
    """So many attempts from this address are waiting that another is not even looked at."""


@dataclass
class _Caller:
    """An address that has failed, or is just trying. Its attempts are looked at one after another."""

    failures: int = 0
    last: float = 0.0
    waiting: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Logins:
    """Checks users and passwords against ``stored(user)``, the hash as it is now, or None for nobody."""

    def __init__(self, stored: Callable[[str], Awaitable[str | None]]) -> None:
        self._stored = stored
        self._callers: dict[str, _Caller] = {}
        self._familiar: dict[str, None] = {}
        """Addresses that got in, the latest last."""
        self._strangers = 0
        self._stranger = asyncio.Lock()
        self._secret = secrets.token_bytes(32)
        self._known: dict[str, bytes] = {}
        """By user, what shows the password that was right the last time."""

    async def accept(self, address: str, user: str, password: str) -> str | None:
        """The hash that the password matched, or None where it is wrong. Raises TooManyAttempts."""
        origin = origin_of(address)
        caller = self._caller(origin)
        if caller.waiting >= MOST_WAITING:
            raise TooManyAttempts
        caller.waiting += 1
        try:
            async with caller.turn:
                if caller.failures:
                    await asyncio.sleep(min(FIRST_WAIT * 2 ** (caller.failures - 1), LONGEST_WAIT))
                hash = await self._matched(origin, user, password)
                caller.failures = 0 if hash else min(caller.failures + 1, 10)
                caller.last = time.monotonic()
        finally:
            caller.waiting -= 1
        if hash:
            _remember(self._familiar, origin, None, MOST_FAMILIAR)
        return hash

    def _caller(self, origin: str) -> _Caller:
        caller = self._callers.get(origin) or _Caller()
        if not caller.waiting and time.monotonic() - caller.last > FORGET:
            caller.failures = 0
        _remember(self._callers, origin, caller, MOST_ADDRESSES)
        return caller

    async def _matched(self, origin: str, user: str, password: str) -> str | None:
        """As accept(). A tool that asks with the same right password each time costs one hash in all."""
        if len(password) > passwords.LONGEST:
            return None
        hash = await self._stored(user)
        seen = hmac.digest(self._secret, f"{hash}\0{password}".encode(errors="replace"), "sha256")
        if hash and hmac.compare_digest(seen, self._known.get(user, b"")):
            return hash
        async with self._place(origin):
            # Nobody's password takes its time too, so that it does not show who is a user.
            right = await passwords.aside(passwords.matches, hash or passwords.NOBODYS, password)
        if not (hash and right):
            return None
        _remember(self._known, user, seen, MOST_KNOWN)
        return hash

    @asynccontextmanager
    async def _place(self, origin: str) -> AsyncIterator[None]:
        """A place in the queue for the next hash, in which there is one stranger at most.

        Raises TooManyAttempts for a stranger where too many wait for that.
        """
        if origin in self._familiar:
            yield
            return
        if self._strangers >= MOST_STRANGERS:
            raise TooManyAttempts
        self._strangers += 1
        try:
            async with self._stranger:
                yield
        finally:
            self._strangers -= 1


def _remember(known: dict[str, T], name: str, value: T, most: int) -> None:
    if name in known:
        del known[name]
    known[name] = value
    if len(known) > most:
        del known[next(iter(known))]
