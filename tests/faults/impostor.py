"""What a sensor may find where its server should be."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from types import TracebackType

from d4common.packet import META_HEADER, encode
from d4common.sender import Identity
from d4common.session import Receiver, Rules, Session

Answer = Callable[[socket.socket], bytes]
"""Hears what a client says and gives what to say to it."""


class Impostor:
    """Listens on ``port``, gives everybody the same kind of answer, and closes. A context manager."""

    def __init__(self, answer: Answer, context: ssl.SSLContext | None = None) -> None:
        """With TLS where there is a ``context``."""
        self._answer = answer
        self._context = context
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._thread = Thread(target=self._serve)

    def __enter__(self) -> Impostor:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                with self._listening.accept()[0] as plain, suppress(OSError):
                    plain.settimeout(10)
                    self._talk(plain)

    def _talk(self, plain: socket.socket) -> None:
        if self._context is None:
            plain.sendall(self._answer(plain))
            return
        with self._context.wrap_socket(plain, server_side=True) as connection:
            connection.sendall(self._answer(connection))
            while connection.recv(1 << 16):
                pass  # the client is to hear the answer before the end


def saying(text: bytes) -> Answer:
    """One that says always the same."""

    def answer(connection: socket.socket) -> bytes:
        connection.recv(1 << 16)
        return text

    return answer


def acknowledging(sensor: Identity, number: int, key: bytes) -> Answer:
    """One that knows the sensor, and acknowledges a number with an answer that is signed with ``key``."""

    def answer(connection: socket.socket) -> bytes:
        receiver = Receiver(Rules(frozenset({2, 254}), frozenset({"maltrail"})), acknowledged=True)
        receiver.authenticate(sensor.key)
        while not isinstance(event := receiver.next_event(), Session):
            if event is None:
                receiver.receive_data(connection.recv(1 << 16))
        document = {"type": "d4-ack", "spool": str(event.spool), "seq": number}
        return encode(key, sensor.uuid.bytes, META_HEADER, json.dumps(document).encode(), int(time.time()))

    return answer
