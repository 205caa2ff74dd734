"""A key from the server, and what goes with it: how the sensor asks (docs/protocol.md, section 3).

Whatever dies in between, asking again gives the same answer until the sensor has said that it is done, and
that it says when all of it is on its disk (place.py).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

from d4common import connection, enrolling, tls
from d4common.config import Endpoint, Proxy
from d4common.connection import Connection
from d4common.enrolling import ALPN_ENROLL, Approved, Done, Enroll, Lines, Pending, ProtocolError, Renew

ANSWER_TIME = 60.0
"""Seconds that a server has to answer."""

AGAIN = 5.0
"""Seconds until one that waits for approval asks again, where its connection was lost."""

CLOSE_TIME = 5.0
"""Seconds for the server to hear that all is done."""


class Failed(Exception):
    """The sensor got no key; the message says why and what to do."""


@dataclass(frozen=True)
class Server:
    """A server to ask, and how it is known: by the SHA-256 of its certificate, or by the context's CA."""

    destination: Endpoint
    context: ssl.SSLContext
    fingerprint: str | None = None
    proxy: Proxy | None = None

    async def open(self, context: ssl.SSLContext) -> Connection:
        """Connects. Raises OSError."""
        return await connection.open_connection(self.destination, context, self.proxy)

    async def connect(self) -> Dialogue:
        """Begins a dialogue with it. Raises Failed, OSError and ProtocolError."""
        opened = await self.open(self.context)
        try:
            self._check(opened)
            dialogue = Dialogue(opened)
            dialogue.nonce = enrolling.greeting(await dialogue.hear()).nonce
        except BaseException:
            opened.abort()
            raise
        return dialogue

    def _check(self, opened: Connection) -> None:
        found = fingerprint_of(opened)
        if self.fingerprint not in (None, found):
            raise Failed(
                f"{self.destination} shows a certificate whose SHA-256 is {shown(found)}; "
                "`d4-server certificate` there says whether that is its own"
            )
        if opened.alpn != ALPN_ENROLL:
            raise Failed(f"{self.destination} does not enrol sensors: it is no d4-server, or an older one")


class Dialogue:
    """Lines to and from a server."""

    def __init__(self, opened: Connection) -> None:
        self.nonce = ""
        """What the server greeted with."""
        self._connection = opened
        self._lines = Lines()

    def say(self, request: enrolling.Request) -> None:
        """Sends a line."""
        self._connection.write(enrolling.encode(request))

    async def hear(self, most: float | None = ANSWER_TIME) -> bytes:
        """The next line, in ``most`` seconds. Raises OSError, ProtocolError."""
        while (line := self._lines.next()) is None:
            self._lines.receive(await asyncio.wait_for(self._connection.read(), most))
        return line

    async def finish(self) -> None:
        """Says that all is done, and waits until the server has closed."""
        self.say(Done())
        with suppress(OSError):
            await asyncio.wait_for(self._connection.read(), CLOSE_TIME)
        self._connection.abort()


def fingerprint_of(opened: Connection) -> str:
    """SHA-256 of the certificate that a server has shown, 64 hexadecimal digits."""
    return sha256(opened.certificate).hexdigest()


def shown(fingerprint: str) -> str:
    """A fingerprint as `d4-server certificate` prints it."""
    return bytes.fromhex(fingerprint).hex(":").upper()


async def look(server: Server) -> str:
    """The fingerprint of the certificate that a server shows to anyone. Raises Failed."""
    try:
        opened = await server.open(unverified())
    except OSError as error:
        raise _failure(server, error) from None
    opened.abort()
    return fingerprint_of(opened)


def unverified() -> ssl.SSLContext:
    """For a server that is known by its fingerprint."""
    return tls.client_context(None, verify=False, alpn=[ALPN_ENROLL])


async def enroll(
    server: Server, request: Enroll, waiting: Callable[[str], None]
) -> tuple[Dialogue, Approved]:
    """Asks until the server has decided. Raises Failed, and what ``waiting`` raises.

    ``waiting`` is told the code once an administrator must approve.
    """
    code = ""

    def wait(pending: Pending) -> None:
        nonlocal code
        if not code:
            waiting(pending.code)
        code = pending.code

    while True:
        try:
            dialogue = await server.connect()
            dialogue.say(request)
            return dialogue, await _decision(server, dialogue, wait)
        except (OSError, ProtocolError) as error:
            if not code or isinstance(error, ProtocolError):
                raise _failure(server, error) from None
        await asyncio.sleep(AGAIN)


async def renew(
    servers: Sequence[Server], uuid: UUID, key: bytes, csr: str | None
) -> tuple[Dialogue, Approved]:
    """Asks for another key with the one that it has, at the first server that gives it. Raises Failed."""
    failures = []
    for server in servers:
        try:
            return await _renew(server, uuid, key, csr)
        except Failed as failure:
            failures.append(str(failure))
    raise Failed("\n".join(failures))


async def _renew(server: Server, uuid: UUID, key: bytes, csr: str | None) -> tuple[Dialogue, Approved]:
    def wait(_: Pending) -> None:
        raise ProtocolError("it lets a sensor wait that has a key")

    try:
        dialogue = await server.connect()
        dialogue.say(Renew(uuid, enrolling.proof(key, dialogue.nonce), csr))
        return dialogue, await _decision(server, dialogue, wait)
    except (OSError, ProtocolError) as error:
        raise _failure(server, error) from None


async def _decision(server: Server, dialogue: Dialogue, wait: Callable[[Pending], None]) -> Approved:
    answer = enrolling.answer(await dialogue.hear())
    while isinstance(answer, Pending):
        wait(answer)
        answer = enrolling.answer(await dialogue.hear(None))
    if isinstance(answer, Approved):
        return answer
    raise Failed(f"{server.destination} refuses: {answer.reason}")


async def check(server: Server, ca: str) -> None:
    """Makes sure that the sensor will know the server by this CA (PEM). Raises Failed."""
    try:
        context = ssl.create_default_context(cadata=ca)
    except ssl.SSLError:
        raise Failed(f"{server.destination} gave a CA that is none") from None
    try:
        opened = await server.open(context)
    except ssl.SSLCertVerificationError as error:
        host = server.destination.host
        raise Failed(
            f"the certificate of {server.destination} is not valid for that name: {error.verify_message}; on "
            f"the server, `d4-server certificate --name {host}` and `systemctl restart d4-server`; then again"
        ) from None
    except OSError as error:
        raise _failure(server, error) from None
    opened.abort()


def _failure(server: Server, error: Exception) -> Failed:
    """Why there was no answer, in words that say what to look at."""
    if isinstance(error, ProtocolError):
        return Failed(f"{server.destination} does not enrol as it should: {error}")
    return Failed(f"no answer from {server.destination}: {connection.explain(error)}")
