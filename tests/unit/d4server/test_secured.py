"""TLS at the server's end of a connection, over real sockets."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import pytest
import uvloop
from conftest import Certificates

from d4common import tls
from d4server.secured import Secured

T = TypeVar("T")

Serve = Callable[[Secured, asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, T]]
LOOPS = pytest.mark.parametrize(
    "loop", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"]
)


class Pair:
    """A connection: the server's end in this thread's event loop, the client's in another thread."""

    def __init__(self, certificates: Certificates, loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self._loop = loop
        self._server = tls.server_context(certificates.certificate, certificates.key)
        self._client = tls.client_context(certificates.ca, verify=True)

    def run(self, serve: Serve[T], client: Callable[[ssl.SSLSocket], object]) -> T:
        """What ``serve`` returns, while a client that has shaken hands does something."""

        def connected(plain: socket.socket) -> None:
            with self._client.wrap_socket(plain, server_hostname="127.0.0.1") as secured:
                client(secured)

        return self.run_plain(serve, connected)

    def run_plain(self, serve: Serve[T], client: Callable[[socket.socket], object]) -> T:
        """The same with a client that does the handshake itself, or does not."""

        async def main() -> T:
            reader = asyncio.StreamReader(limit=1 << 14)
            protocol = asyncio.StreamReaderProtocol(reader)
            secured = Secured(self._server, protocol)
            loop = asyncio.get_running_loop()
            with socket.create_server(("127.0.0.1", 0)) as listening:
                plain = socket.create_connection(listening.getsockname(), timeout=10)
                accepted, _ = listening.accept()
            thread = threading.Thread(target=client, args=[plain])
            thread.start()
            accepted.setblocking(False)
            await loop.connect_accepted_socket(lambda: secured, accepted)
            try:
                return await asyncio.wait_for(
                    serve(secured, reader, asyncio.StreamWriter(secured, protocol, reader, loop)), 20
                )
            finally:
                secured.abort()
                await asyncio.to_thread(thread.join)
                plain.close()

        with asyncio.Runner(loop_factory=self._loop) as runner:
            return runner.run(main())


async def everything(secured: Secured, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """What the client has sent when it says that nothing more comes."""
    await secured.shaken
    return await reader.read()


@pytest.fixture
def pair(certificates: Certificates, request: pytest.FixtureRequest) -> Pair:
    return Pair(certificates, request.getfixturevalue("loop"))


@LOOPS
def test_what_is_sent_arrives(pair: Pair, loop: object) -> None:
    """More than any buffer holds."""
    data = random.Random(1).randbytes(3_000_000)

    def client(connection: ssl.SSLSocket) -> None:
        for at in range(0, len(data), 70_001):
            connection.sendall(data[at : at + 70_001])
        connection.unwrap()

    assert pair.run(everything, client) == data


@LOOPS
def test_what_is_answered_arrives_before_it_closes(pair: Pair, loop: object) -> None:
    data, heard = random.Random(2).randbytes(500_000), bytearray()

    async def serve(secured: Secured, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await secured.shaken
        writer.write(data)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    def client(connection: ssl.SSLSocket) -> None:
        while got := connection.recv(1 << 16):
            heard.extend(got)

    pair.run(serve, client)
    assert bytes(heard) == data


@LOOPS
def test_what_is_not_read_does_not_gather(pair: Pair, loop: object) -> None:
    stuck = threading.Event()

    async def serve(secured: Secured, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        await secured.shaken
        assert await asyncio.to_thread(stuck.wait, 10), "the client can send no more"
        held = len(reader._buffer)  # type: ignore[attr-defined]
        with suppress(ConnectionError):
            while await reader.read(1 << 20):
                pass
        return held

    def client(connection: ssl.SSLSocket) -> None:
        connection.settimeout(0.5)
        try:
            for _ in range(10_000):
                connection.sendall(bytes(10_000))
        except TimeoutError:
            stuck.set()
        connection.close()

    assert pair.run(serve, client) < 150_000


@LOOPS
def test_a_client_that_says_nothing_costs_no_tls(pair: Pair, loop: object) -> None:
    async def serve(secured: Secured, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> object:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(secured.shaken), 0.1)
        return secured.get_extra_info("ssl_object")

    assert pair.run_plain(serve, lambda plain: plain.recv(1)) is None


@LOOPS
@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"", ConnectionResetError),
        (b"\x16\x03", ConnectionResetError),
        (b"GET / HTTP/1.1\r\n\r\n", ssl.SSLError),
    ],
)
def test_a_handshake_that_fails_is_told(pair: Pair, loop: object, said: bytes, error: type[OSError]) -> None:
    async def serve(secured: Secured, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with pytest.raises(error):
            await secured.shaken

    def client(plain: socket.socket) -> None:
        plain.sendall(said)
        plain.shutdown(socket.SHUT_WR)

    pair.run_plain(serve, client)


@LOOPS
def test_a_torn_record_ends_the_connection(pair: Pair, loop: object) -> None:
    async def serve(secured: Secured, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await secured.shaken
        with pytest.raises(ssl.SSLError):
            await reader.read()

    def client(connection: ssl.SSLSocket) -> None:
        socket.socket.send(connection, b"\x17\x03\x03\x00\x20" + bytes(32))

    pair.run(serve, client)
