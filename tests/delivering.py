"""A client of d4common with an outbox in memory, and a small D4 server for it, in one event loop."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
import warnings
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from uuid import UUID, uuid4

import uvloop
from conftest import Certificates
from waiting import until

from d4common.client import Client
from d4common.config import Endpoint, Proxy
from d4common.outbox import MemoryOutbox
from d4common.sender import Identity, Sender
from d4common.session import ALPN_ACK, Data, Hello, Receiver, Refused, Rules, Session
from d4common.tls import client_context, server_context

T = TypeVar("T")

RULES = Rules(frozenset({2, 254}), frozenset({"maltrail"}))
SENDER = Sender(Identity(uuid4(), b"key"), 254, {"type": "maltrail"})

Context = Callable[[], ssl.SSLContext]


class Server:
    """A D4 server that keeps the lines it was sent, and closes each connection after ``most`` packets.

    With ``acknowledges`` it agrees to acknowledged sessions. Their beginning it answers always, and what
    comes then while ``answers`` is true.
    """

    def __init__(
        self, certificates: Certificates, most: int = 10**9, acknowledges: bool = False, key: bytes = b"key"
    ) -> None:
        self.received: list[bytes] = []
        self.stored: dict[UUID, int] = {}
        """The last number of each spool."""
        self.sessions: list[int] = []
        """The number that each d4-session named."""
        self.answers = True
        self.welcomes = True
        """Whether it answers the beginning of a session."""
        self.connections = 0
        self.port = 0
        self.open: set[asyncio.StreamWriter] = set()
        alpn = [ALPN_ACK] if acknowledges else []
        self.context = server_context(certificates.certificate, certificates.key, alpn)
        self._most = most
        self._key = key

    async def start(self, address: str = "127.0.0.1") -> None:
        """Listens: on a free port at first, on the same one after a stop."""
        self._server = await asyncio.start_server(self._serve, address, self.port, ssl=self.context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Closes the port and every connection."""
        self._server.close()
        for writer in self.open:
            writer.close()
        await until(lambda: not self.open)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open.add(writer)
        acknowledged = writer.get_extra_info("ssl_object").selected_alpn_protocol() == ALPN_ACK
        receiver, spool, packets = Receiver(RULES, acknowledged), None, 0
        begun = False
        receiver.authenticate(self._key)
        try:
            while packets < self._most and (data := await reader.read(65536)):
                receiver.receive_data(data)
                while packets < self._most and (event := receiver.next_event()) is not None:
                    packets += not isinstance(event, Hello)
                    if isinstance(event, Session):
                        spool = event.spool
                        self.sessions.append(event.seq)
                    if isinstance(event, Data):
                        self._store(event, spool)
                if spool and (self.answers if begun else self.welcomes):
                    writer.write(receiver.answer(self.stored.get(spool, 0), int(time.time())))
                    begun = True
        except (OSError, Refused):
            pass
        finally:
            writer.close()
            self.open.discard(writer)

    def _store(self, data: Data, spool: UUID | None) -> None:
        if spool and data.number is not None:
            if data.number <= self.stored.get(spool, 0):
                return
            self.stored[spool] = data.number
        self.received += data.payload.splitlines()


class Chain:
    """A running client with its outbox, and what it said of itself."""

    def __init__(
        self,
        ports: int | list[int],
        context: Context,
        host: str = "127.0.0.1",
        snaplen: int = 100,
        proxy: Proxy | None = None,
        most: int = 10**8,
    ) -> None:
        self.outbox = MemoryOutbox(most, snaplen)
        self.states: list[str] = []
        destinations = [Endpoint(host, port) for port in ([ports] if isinstance(ports, int) else ports)]
        self._client = Client(SENDER, self.outbox, destinations, context, self.states.append, proxy)
        self.run = asyncio.create_task(self._client.run())

    def put(self, *lines: bytes) -> None:
        for line in lines:
            self.outbox.put(line + b"\n")

    async def says(self, words: str) -> None:
        """Waits until a state of the client has these words."""
        await until(lambda: any(words in state for state in self.states))

    async def stop(self) -> float:
        """Stops the client; the seconds that it took."""
        started = time.monotonic()
        self._client.stop()
        await asyncio.wait_for(self.run, 10)
        return time.monotonic() - started


def run(test: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs a test on the event loop that the daemons use."""
    with warnings.catch_warnings(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        # Where this warning is an error, uvloop never comes to an end with what a failed test left open.
        warnings.simplefilter("ignore", ResourceWarning)
        return runner.run(test())


def trusting(certificates: Certificates) -> Context:
    return lambda: client_context(certificates.ca, True)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
