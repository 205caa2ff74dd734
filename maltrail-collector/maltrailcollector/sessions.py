"""Who has logged in: random tokens, kept in memory, good for a working day."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass

LIFETIME = 12 * 3600
"""Seconds."""

MOST = 1000
"""Sessions at a time; one more ends the oldest."""


@dataclass(frozen=True)
class _Session:
    hash: str
    ends: float


class Sessions:
    """A session belongs to the password (its hash) that opened it, and ends when that is changed."""

    def __init__(self) -> None:
        self._sessions: dict[str, _Session] = {}

    def open(self, hash: str) -> str:
        """A new session's token."""
        if len(self._sessions) >= MOST:
            del self._sessions[next(iter(self._sessions))]
        token = secrets.token_urlsafe(32)
        self._sessions[token] = _Session(hash, time.monotonic() + LIFETIME)
        return token

    def valid(self, token: str, hash: str | None) -> bool:
        """Whether ``token`` is a session under the password whose hash is in force."""
        session = self._sessions.get(token)
        if session is None:
            return False
        if session.hash != hash or time.monotonic() > session.ends:
            del self._sessions[token]
            return False
        return True

    def close(self, token: str) -> None:
        """Ends a session, if it is one."""
        self._sessions.pop(token, None)
