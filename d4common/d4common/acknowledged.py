"""The sensor's end of an acknowledged session (docs/protocol.md, section 2). No I/O."""

from __future__ import annotations

import json
from collections import deque
from typing import Any
from uuid import UUID

from d4common.packet import META_HEADER, Decoder, Header, PacketError
from d4common.sender import Sender
from d4common.session import ACK, ALPN_ACK, SESSION

MAX_ANSWER = 4096
"""Bytes of payload in an answer."""


class BadAnswer(Exception):
    """The server has said what it must not say; the message is a sentence for the log."""

    def __init__(self, complaint: str) -> None:
        super().__init__(f"{complaint}; nothing was taken out of the spool for it")


class AheadOfSpool(BadAnswer):
    """The server has more of a spool than was ever sent: this is a copy, and it has the original's."""


class AcknowledgedSession:
    """What one connection sends of a spool, and up to where the server says that it has it.

    ``first`` is the number of the first packet that it sends. ``known`` is the last number that the server
    can have from earlier connections: an answer may name it although it was not sent on this one.
    """

    def __init__(self, sender: Sender, spool: UUID, first: int, known: int) -> None:
        self.next = first
        """The number of the next packet."""
        self.answered = False
        """Whether the server has answered."""
        self.unacknowledged = 0
        """Bytes of payload that were sent here and that the server has not acknowledged."""
        self._sender = sender
        self._spool = spool
        self._known = known
        self._stored = first - 1
        self._decoder = Decoder()
        self._sizes: deque[int] = deque()
        """Bytes of payload of each packet from ``acknowledged + 1`` to ``next - 1``."""

    @property
    def acknowledged(self) -> int:
        """All packets up to this number need not be sent again.

        Never a number that was not sent here, even where the server has it already: numbers are in a row.
        """
        return self.next - 1 - len(self._sizes)

    def opening(self, timestamp: int) -> bytes:
        """The bytes that open the connection."""
        return self.announcement(timestamp) + self._sender.opening(timestamp)

    def announcement(self, timestamp: int) -> bytes:
        """A packet that says which number is next: the first of a session, and a sign of life later."""
        return self._sender.meta({"type": SESSION, "spool": str(self._spool), "seq": self.next}, timestamp)

    def packet(self, number: int, timestamp: int, payload: bytes) -> bytes:
        """A packet of data; ``number`` is ``next``, and ValueError is raised where it is not."""
        if number != self.next:
            raise ValueError(f"packet {number} comes where {self.next} is the next")
        self.next += 1
        self._sizes.append(len(payload))
        self.unacknowledged += len(payload)
        self._settle()
        return self._sender.packet(payload, timestamp)

    def receive_data(self, data: bytes) -> None:
        """Takes bytes from the server. Raises BadAnswer, and believes nothing from there on."""
        self._decoder.receive_data(data)
        try:
            while (header := self._decoder.next_header()) is not None:
                self._admit(header)
                packet = self._decoder.next_packet()
                if packet is None:
                    return
                if not packet.authentic(self._sender.identity.key):
                    raise BadAnswer("the server's answer is not signed with this sensor's key")
                self._receive_answer(packet.payload)
        except PacketError:
            raise BadAnswer(f"the server's answer is no D4 packet: it does not speak {ALPN_ACK}") from None

    def _admit(self, header: Header) -> None:
        """What a header alone is refused for, before its payload has arrived."""
        if header.type != META_HEADER:
            raise BadAnswer(
                f"the server's answer is of type {header.type}, not 2: it does not speak {ALPN_ACK}"
            )
        if header.uuid != self._sender.identity.uuid.bytes:
            raise BadAnswer(f"the server's answer is for another sensor, {UUID(bytes=header.uuid)}")
        if header.size > MAX_ANSWER:
            raise BadAnswer(f"the server's answer has {header.size} bytes; {MAX_ANSWER} are the most")

    def _receive_answer(self, payload: bytes) -> None:
        answer = _object(payload)
        if answer.get("type") != ACK:
            raise BadAnswer(f'the server\'s answer has "type" {_shown(answer, "type")}, not "d4-ack"')
        if answer.get("spool") != str(self._spool):
            raise BadAnswer(f"the server's answer is for another spool, {_shown(answer, 'spool')}")
        stored = answer.get("seq")
        if type(stored) is not int or stored < 0:
            raise BadAnswer(f'the server\'s answer has "seq" {_shown(answer, "seq")}, which is no number')
        sent = max(self._known, self.next - 1)
        if stored > sent:
            raise AheadOfSpool(
                f"the server acknowledges packets up to {stored}, but {sent} is the last that was sent"
            )
        self.answered = True
        self._stored = max(self._stored, stored)
        self._settle()

    def _settle(self) -> None:
        """Forgets the sizes of what the server has stored."""
        while self._sizes and self.acknowledged < self._stored:
            self.unacknowledged -= self._sizes.popleft()


def _object(payload: bytes) -> dict[str, Any]:
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError):
        raise BadAnswer(f"the server's answer is not JSON: {payload[:40]!r}") from None
    if not isinstance(document, dict):
        raise BadAnswer(f"the server's answer is no object of JSON: {payload[:40]!r}")
    return document


def _shown(answer: dict[str, Any], member: str) -> str:
    return f"{json.dumps(answer[member]):.60}" if member in answer else "missing"
