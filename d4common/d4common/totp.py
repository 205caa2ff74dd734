"""Time-based one-time passwords (RFC 6238), as the usual apps make them: 6 digits, every 30 s, HMAC-SHA-1."""

from __future__ import annotations

import base64
import hmac
import secrets
from urllib.parse import quote

STEP = 30
"""Seconds for which a code is shown."""

DIGITS = 6

DRIFT = 1
"""Steps by which the other clock may be off, to either side."""


def new_secret() -> bytes:
    """A random secret: 160 bits, as RFC 4226, section 4, recommends."""
    return secrets.token_bytes(20)


def text(secret: bytes) -> str:
    """A secret as people type it into an app: base32, without padding."""
    return base64.b32encode(secret).decode().rstrip("=")


def uri(secret: bytes, issuer: str, account: str) -> str:
    """What an app reads from a QR code ("Key URI Format" of Google Authenticator)."""
    label = f"{quote(issuer, safe='')}:{quote(account, safe='')}"
    return f"otpauth://totp/{label}?secret={text(secret)}&issuer={quote(issuer, safe='')}"


def code(secret: bytes, step: int, digits: int = DIGITS, algorithm: str = "sha1") -> str:
    """The code of a time step (RFC 4226, section 5.3); ``step`` is seconds since the epoch over STEP."""
    digest = hmac.digest(secret, step.to_bytes(8, "big"), algorithm)
    offset = digest[-1] & 15
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**digits:0{digits}}"


def step_of(secret: bytes, given: str, now: float) -> int | None:
    """The time step whose code this is, if it is one of about now; it may be used once only (section 5.2).

    Apps show codes with white space, which people type as well.
    """
    digits = "".join(given.split()).encode(errors="replace")
    current, found = int(now) // STEP, None
    for step in range(max(0, current - DRIFT), current + DRIFT + 1):
        if hmac.compare_digest(code(secret, step).encode(), digits):
            found = step
    return found
