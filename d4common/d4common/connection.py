"""A TLS connection to a server, by a proxy if need be, of which is known what the other end has."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import ssl
import struct
import termios
from asyncio.staggered import staggered_race
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, zip_longest
from typing import Any

from d4common import socks
from d4common.config import Endpoint, Proxy

CONNECT_TIMEOUT = 15.0
"""Seconds for name resolution, TCP, the proxy and TLS together."""

STAGGER = 0.25
"""Seconds that an address has before the next one is tried beside it (RFC 8305)."""

KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_COUNT = 15, 5, 3
"""Seconds of silence before TCP asks whether the peer is there, between questions, and their number."""

USER_TIMEOUT = 30.0
"""Seconds that sent bytes may remain without TCP's acknowledgement before a path counts as dead."""

TCP_USER_TIMEOUT = 18
"""The socket option (tcp(7)); its time is in milliseconds."""

ESTABLISHED = 1
"""The state of a connection that neither side has closed: the first byte of TCP_INFO (tcp(7))."""

FIRST_LOOK, LONGEST_LOOK = 0.0002, 0.02
"""Seconds between looks at what the kernel has not sent yet: doubled each time, up to the longest."""

Address = tuple[socket.AddressFamily, tuple[Any, ...]]


class Connection:
    """What open_connection() gives."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        plain: asyncio.WriteTransport,
        tcp: socket.socket,
    ) -> None:
        """``plain`` is what is below TLS, ``tcp`` what is below that."""
        self._reader = reader
        self._writer = writer
        self._plain = plain
        self._tcp = tcp

    @property
    def alpn(self) -> str | None:
        """The protocol that the server has picked (RFC 7301), if any."""
        tls: ssl.SSLObject = self._writer.get_extra_info("ssl_object")
        return tls.selected_alpn_protocol()

    @property
    def certificate(self) -> bytes:
        """The certificate that the server has shown, in DER form."""
        tls: ssl.SSLObject = self._writer.get_extra_info("ssl_object")
        return tls.getpeercert(binary_form=True) or b""

    def write(self, data: bytes) -> None:
        """Takes bytes to send, however many; it is for the caller not to have too many on their way."""
        self._writer.write(data)

    async def read(self) -> bytes:
        """What the server says next; raises OSError, ConnectionResetError where it has closed."""
        data = await self._reader.read(1 << 16)
        if not data:
            raise ConnectionResetError("the server closed it; its log says why")
        return data

    async def arrived(self) -> None:
        """Returns when the peer's kernel has acknowledged all that was written.

        Raises OSError, which says why, where the connection ended before, by its end or by ours.
        """
        pause = FIRST_LOOK
        while (waiting := self._waiting()) is not None:
            if not waiting:
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_LOOK)
        await asyncio.sleep(FIRST_LOOK)  # what the kernel has told the reader is heard in its turn
        raise self._end()

    def limit_silence(self) -> None:
        """Ends the connection where TCP hears nothing of the peer, though there is something to send.

        That includes a peer that is there, but takes nothing for all this time.
        """
        self._tcp.setsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, int(USER_TIMEOUT * 1000))

    async def close(self, most: float) -> None:
        """Closes in ``most`` seconds: in an orderly way, or without regard to what is on its way."""
        self._writer.close()
        closing = asyncio.create_task(self._writer.wait_closed())
        await asyncio.wait((closing,), timeout=most)
        if closing.done():
            with suppress(OSError):
                closing.result()
        else:
            closing.cancel()
        self.abort()

    def abort(self) -> None:
        """Closes at once."""
        self._writer.transport.abort()

    def _waiting(self) -> int | None:
        """Bytes still in this process, or in the kernel without the peer's acknowledgement.

        None where the connection has ended.
        """
        if self._plain.is_closing() or self._reader.at_eof():
            return None
        waiting = self._writer.transport.get_write_buffer_size() + self._plain.get_write_buffer_size()
        queue = fcntl.ioctl(self._tcp.fileno(), termios.TIOCOUTQ, bytes(4))
        (state,) = self._tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        return waiting + int(struct.unpack("=I", queue)[0]) if state == ESTABLISHED else None

    def _end(self) -> OSError:
        """Why the connection has ended; the kernel says it once, here or to the reader."""
        said = self._reader.exception()
        if isinstance(said, OSError):
            return said
        if self._tcp.fileno() != -1 and (number := self._tcp.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
            return OSError(number, os.strerror(number))
        return ConnectionResetError("it ended before all had arrived")


async def open_connection(
    destination: Endpoint, context: ssl.SSLContext, proxy: Proxy | None = None
) -> Connection:
    """Connects, in CONNECT_TIMEOUT seconds. Raises OSError."""
    return await asyncio.wait_for(_open(destination, context, proxy), CONNECT_TIMEOUT)


async def _open(destination: Endpoint, context: ssl.SSLContext, proxy: Proxy | None) -> Connection:
    tcp = await _connect(proxy.endpoint if proxy else destination)
    for option, value in (
        (socket.TCP_KEEPIDLE, KEEPALIVE_IDLE),
        (socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL),
        (socket.TCP_KEEPCNT, KEEPALIVE_COUNT),
        (socket.TCP_NODELAY, 1),
    ):
        tcp.setsockopt(socket.IPPROTO_TCP, option, value)
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    reader, writer = await asyncio.open_connection(sock=tcp)
    plain = writer.transport
    try:
        if proxy:
            await socks.ask(reader, writer, proxy, destination)
        await writer.start_tls(context, server_hostname=destination.host)
    except BaseException:
        plain.abort()
        raise
    return Connection(reader, writer, plain, tcp)


async def _connect(endpoint: Endpoint) -> socket.socket:
    """A TCP connection to whichever address of the host answers first (RFC 8305)."""
    addresses = await _addresses(endpoint)
    attempts = [partial(_connect_to, family, address) for family, address in addresses]
    winner: socket.socket | None
    winner, _, errors = await staggered_race(attempts, STAGGER)
    if winner is None:
        raise next(error for error in errors if error is not None)
    return winner


async def _addresses(endpoint: Endpoint) -> Sequence[Address]:
    """The addresses of a host, those of IPv6 and IPv4 in turn, the preferred family first."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    pairs = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
    first = [pair for pair in pairs if pair[0] == pairs[0][0]]
    others = [pair for pair in pairs if pair[0] != pairs[0][0]]
    return [pair for pair in chain.from_iterable(zip_longest(first, others)) if pair]


async def _connect_to(family: socket.AddressFamily, address: tuple[Any, ...]) -> socket.socket:
    connecting = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        await asyncio.get_running_loop().sock_connect(connecting, address)
    except BaseException:
        connecting.close()
        raise
    return connecting


def explain(error: BaseException) -> str:
    """Why there is no connection, or none any more, in words that say what to look at."""
    if isinstance(error, ssl.SSLCertVerificationError):
        hint = _CERTIFICATE_HINTS.get(error.verify_code, "")
        return f"its certificate is not trusted: {error.verify_message}{hint}"
    if isinstance(error, ssl.SSLError):
        reason = str(error.strerror).partition(" (_ssl")[0]
        return f"no TLS with it: {reason}; is that a D4 server?"
    if isinstance(error, socket.gaierror):
        return f"its name is not known: {error.strerror}"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    if isinstance(error, TimeoutError):
        return f"no answer in {CONNECT_TIMEOUT:.0f} s"
    return str(error) or "it closed the connection before TLS was agreed on"


_CERTIFICATE_HINTS = {
    9: "; is the clock right, here and there?",
    10: "; the server needs a new one",
    18: "; [d4] ca must be the CA that signed it",
    19: "; [d4] ca must be the CA that signed it",
    20: "; [d4] ca must be the CA that signed it",
}
"""What to do, by OpenSSL's X509_V_ERR_…: not yet valid, expired, self-signed, unknown CA."""
