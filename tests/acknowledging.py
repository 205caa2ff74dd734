"""A client of acknowledged sessions, written by hand: it says what a test wants, and checks the answers."""

from __future__ import annotations

import json
import socket
import ssl
from pathlib import Path
from types import TracebackType
from uuid import UUID, uuid4

from serving import KEY, packet

from d4common import tls
from d4common.packet import META_HEADER, Decoder
from d4common.session import ALPN_ACK

TYPE = 3


class Acknowledged:
    """One connection. ``sent`` is all that went into it, ``next`` the number of the next packet of data.

    ``keys`` are those of the sensor; it signs with the last of them, and answers may be signed with any.
    """

    def __init__(
        self, port: int, ca: Path, sensor: UUID, spool: UUID | None = None, type: int = TYPE, receive: int = 0
    ) -> None:
        """``receive``: bytes that the kernel is to hold of what is not read, if not as many as it likes."""
        self.spool = spool or uuid4()
        self.sent = bytearray()
        self.answers: list[int] = []
        self.next = 0
        self.keys = [KEY]
        self.sensor = sensor
        self._type = type
        self._decoder = Decoder()
        context = tls.client_context(ca, verify=True, alpn=(ALPN_ACK,))
        plain = socket.socket()
        plain.settimeout(10)
        if receive:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        plain.connect(("127.0.0.1", port))
        self.connection = context.wrap_socket(plain, server_hostname="127.0.0.1")
        assert self.connection.selected_alpn_protocol() == ALPN_ACK

    def __enter__(self) -> Acknowledged:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()

    def announce(self, seq: int) -> None:
        """Sends a d4-session."""
        self.next = seq
        document = {"type": "d4-session", "spool": str(self.spool), "seq": seq}
        self.write(packet(self.sensor, META_HEADER, json.dumps(document).encode(), self.keys[-1]))

    def send(self, *payloads: bytes) -> None:
        """Sends packets of data, all at once."""
        self.next += len(payloads)
        self.write(b"".join(packet(self.sensor, self._type, each, self.keys[-1]) for each in payloads))

    def write(self, data: bytes) -> None:
        """Sends bytes."""
        self.sent += data
        self.connection.sendall(data)

    def answer(self) -> int:
        """The number in the next answer, which must be as the protocol has it. Raises EOFError at the end."""
        while (found := self._decoder.next_packet()) is None:
            try:
                data = self.connection.recv(1 << 16)
            except (ConnectionError, ssl.SSLEOFError):
                data = b""
            if not data:
                raise EOFError
            self._decoder.receive_data(data)
        assert any(found.authentic(key) for key in self.keys)
        assert (found.header.type, found.header.uuid) == (META_HEADER, self.sensor.bytes)
        document = json.loads(found.payload)
        seq: int = document.pop("seq")
        assert document == {"type": "d4-ack", "spool": str(self.spool)}
        if self.answers:
            assert self.answers[-1] <= seq < max(self.next, self.answers[0] + 1), "M falls, or was never sent"
        self.answers.append(seq)
        return seq

    def acknowledged(self, number: int) -> None:
        """Reads answers until all up to this number is acknowledged."""
        while not self.answers or self.answers[-1] < number:
            self.answer()

    def rest(self) -> list[int]:
        """All answers until the server has closed."""
        try:
            while True:
                self.answer()
        except EOFError:
            return self.answers
