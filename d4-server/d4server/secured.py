"""TLS at the server's end of one connection, made to cost little while nothing comes.

asyncio and uvloop give each connection buffers of its own that grow to a megabyte with the first burst and
stay so. Here all connections read into one buffer, since what has come is decrypted at once; and OpenSSL is
not asked before a client has said anything.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import Any

_BUFFER = memoryview(bytearray(1 << 16))
"""What the kernel has, for as long as it takes to decrypt it."""

RECORD = 1 << 14
"""Bytes that are decrypted at once: what OpenSSL's own buffer grows to, and the most in one TLS record."""


class Secured(asyncio.Transport, asyncio.BufferedProtocol):
    """The protocol of a connection over TCP, and the transport of a protocol over TLS."""

    _tcp: asyncio.Transport

    def __init__(self, context: ssl.SSLContext, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.shaken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done with the handshake, with ssl.SSLError or OSError where it failed."""
        self._context = context
        self._protocol = protocol
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        self._over = False

    # What TCP says.

    def connection_made(self, transport: Any) -> None:
        """It is there."""
        self._tcp = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where to put what comes."""
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """So much has come."""
        for at in range(0, nbytes, RECORD):
            if self._over:
                return
            self._incoming.write(_BUFFER[at : min(nbytes, at + RECORD)])
            self._advance()

    def eof_received(self) -> None:
        """Nothing more comes; TCP then closes."""
        self._end(None if self._shook() else ConnectionResetError("it closed in the TLS handshake"))

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._end(exc if exc or self._shook() else ConnectionResetError("it closed in the TLS handshake"))

    def pause_writing(self) -> None:
        """Much waits to be sent."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Little waits by now."""
        self._protocol.resume_writing()

    # What the protocol over TLS says.

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As TCP has it, and ``ssl_object``."""
        return self._tls if name == "ssl_object" else self._tcp.get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Sends."""
        rest = memoryview(data)
        while rest and self._tls is not None and not self.is_closing():
            rest = rest[self._tls.write(rest) :]
        self._flush()

    def get_write_buffer_size(self) -> int:
        """Bytes that wait to be sent."""
        return self._tcp.get_write_buffer_size()

    def pause_reading(self) -> None:
        """Leaves what comes with the kernel."""
        self._tcp.pause_reading()

    def resume_reading(self) -> None:
        """Takes it again."""
        self._tcp.resume_reading()

    def is_closing(self) -> bool:
        """Whether nothing more can be sent."""
        return self._over or self._tcp.is_closing()

    def close(self) -> None:
        """Closes when all is sent."""
        if self._tls is not None and not self.is_closing():
            with suppress(OSError):  # the client need not answer
                self._tls.unwrap()
            self._flush()
        self._tcp.close()

    def abort(self) -> None:
        """Closes at once."""
        self._tcp.abort()

    # TLS.

    def _shook(self) -> bool:
        return self.shaken.done()

    def _advance(self) -> None:
        """Does what can be done with what has come."""
        if self._tls is None:
            self._tls = self._context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        try:
            if not self._shook():
                self._tls.do_handshake()
                self._protocol.connection_made(self)
                self.shaken.set_result(None)
            while data := self._tls.read(RECORD):
                self._protocol.data_received(data)
                if not self._incoming.pending and not self._tls.pending():
                    break  # to be told so by an exception would cost more than all the rest of it
            self._flush()
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError as error:
            self._flush()  # an alert
            self._end(error)
            self._tcp.close()
        else:
            if not data:  # it has said that nothing more comes
                self.close()
                self._end(None)

    def _flush(self) -> None:
        if self._outgoing.pending and not self._tcp.is_closing():
            self._tcp.write(self._outgoing.read())

    def _end(self, error: Exception | None) -> None:
        """Says once that it is over."""
        if self._over:
            return
        self._over = True
        if self._shook():
            self._protocol.connection_lost(error)
        else:
            self.shaken.set_exception(error or ConnectionResetError("it closed"))
