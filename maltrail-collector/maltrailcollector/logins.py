"""Who may come in: the password is checked, and guessing made slow, by address and for nobody else."""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

from maltrailcollector import passwords

FIRST_WAIT, LONGEST_WAIT = 0.5, 8.0
"""Seconds that an address waits after its first failure: doubled with each, up to the longest."""

FORGET = 900.0
"""Seconds after which the failures of an address are forgotten."""

MOST_WAITING = 10
"""Attempts from one address that may wait; the next is turned away."""

MOST_ADDRESSES = 10_000
LONGEST_PASSWORD = 1024


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
    """Checks user and password against ``stored()``, the hash as it is now, so that it may change."""

    def __init__(self, stored: Callable[[], str | None]) -> None:
        self._stored = stored
        self._callers: dict[str, _Caller] = {}
        self._hashing = asyncio.Lock()  # one at a time: each takes 64 MiB
        self._secret = secrets.token_bytes(32)
        self._known = b""

    async def accept(self, address: str, user: str, password: str) -> str | None:
        """The hash that the password matched, or None where it is wrong. Raises TooManyAttempts."""
        caller = self._caller(_neighbourhood(address))
        if caller.waiting >= MOST_WAITING:
            raise TooManyAttempts
        caller.waiting += 1
        try:
            async with caller.turn:
                if caller.failures:
                    await asyncio.sleep(min(FIRST_WAIT * 2 ** (caller.failures - 1), LONGEST_WAIT))
                hash = await self._matched(user, password)
                caller.failures = 0 if hash else min(caller.failures + 1, 10)
                caller.last = time.monotonic()
                return hash
        finally:
            caller.waiting -= 1

    def _caller(self, address: str) -> _Caller:
        caller = self._callers.pop(address, None) or _Caller()
        if not caller.waiting and time.monotonic() - caller.last > FORGET:
            caller.failures = 0
        self._callers[address] = caller
        if len(self._callers) > MOST_ADDRESSES:
            del self._callers[next(iter(self._callers))]
        return caller

    async def _matched(self, user: str, password: str) -> str | None:
        """As accept(). A tool that asks with the same right password each time costs one hash in all."""
        hash = self._stored()
        if hash is None or user != passwords.USER or len(password) > LONGEST_PASSWORD:
            return None
        seen = hmac.digest(self._secret, f"{hash}\0{password}".encode(), "sha256")
        if hmac.compare_digest(seen, self._known):
            return hash
        async with self._hashing:
            if not await asyncio.to_thread(passwords.matches, hash, password):
                return None
        self._known = seen
        return hash


def _neighbourhood(address: str) -> str:
    """What counts as one caller: an IPv4 address, or the /64 of an IPv6 address, which one host has whole."""
    if ":" not in address:
        return address
    return str(ip_network((ip_address(address.partition("%")[0]), 64), strict=False))
