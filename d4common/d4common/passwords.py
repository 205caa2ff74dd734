"""Passwords: made at random, hashed with argon2, and compared with a hash."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHash, VerificationError

T = TypeVar("T")

LEAST_LENGTH, LONGEST = 10, 1024
"""Characters of a password that somebody chose."""

LEAST_DIFFERENT = 5
"""Different characters in it."""

_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # without those that look alike
# RFC 9106, section 4, the second choice.
_HASHER = PasswordHasher(time_cost=3, memory_cost=64 << 10, parallelism=4, hash_len=32, salt_len=16)

NOBODYS = f"$argon2id$v=19$m={64 << 10},t=3,p=4${'A' * 22}${'A' * 43}"
"""A hash that no password has, to compare with where there is no user: that takes as long as any other."""

_thread = ThreadPoolExecutor(1, "argon2")


def random_password(groups: int = 4) -> str:
    """Groups of five characters, some 25 bits each."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(groups))


def chosen(password: str) -> str:
    """A password that somebody chose, as it is. Raises ValueError with what would be right."""
    if len(password) < LEAST_LENGTH:
        raise ValueError(f"must have {LEAST_LENGTH} characters at least")
    if len(password) > LONGEST:
        raise ValueError(f"must have {LONGEST} characters at most")
    if not password.isprintable():
        raise ValueError("must have printable characters only")
    if len(set(password)) < LEAST_DIFFERENT:
        raise ValueError(f"must have {LEAST_DIFFERENT} different characters at least")
    return password


def hashed(password: str) -> str:
    """The hash of a password, with its salt and parameters: some 50 ms of work and 64 MiB, by design."""
    return str(_HASHER.hash(password))


def matches(hash: str, password: str) -> bool:
    """Whether ``hash`` is that of ``password``; the same work again."""
    try:
        return bool(_HASHER.verify(hash, password))
    except (VerificationError, InvalidHash, UnicodeEncodeError):
        return False


async def aside(work: Callable[..., T], *arguments: Any) -> T:
    """Does hashed() or matches() in a thread of its own, one at a time: 64 MiB are all that it takes."""
    return await asyncio.get_running_loop().run_in_executor(_thread, work, *arguments)
