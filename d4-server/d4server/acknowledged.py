"""The server's end of one acknowledged session: packets into the store, answers to the sensor.

docs/protocol.md, section 2. What is asked of Redis goes through the store, behind what waits there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from d4common.records import Numbered, Spool
from d4common.session import Data, Receiver, Session
from d4server.lines import Packets
from d4server.store import Store

HEARTBEAT = 10.0
"""Seconds after which the last answer is given again."""


class Acknowledged:
    """A session, from its first d4-session to its end."""

    def __init__(
        self, receiver: Receiver, session: Session, store: Store, send: Callable[[bytes], None]
    ) -> None:
        """``send`` takes an answer on its way to the sensor. It may drop one, since each says it all."""
        assert receiver.sensor is not None
        self._receiver = receiver
        self._store = store
        self._send = send
        self._spool = Spool(receiver.sensor, session.spool)
        self._packets = Packets()
        self._received = session.seq - 1
        self._stored = session.seq - 1
        """What the last answer said; before there was one, what the client begins behind."""
        self._heard = False
        self._answered = asyncio.get_running_loop().time()
        store.follow(self._spool, session.seq, self._hear)

    @property
    def waiting(self) -> int:
        """Bytes that wait for the end of a line."""
        return len(self._packets)

    def take(self, first: Data, payloads: Sequence[bytes], chunk: bool) -> None:
        """Hands packets over that came together; of lines, all but those that wait for the end of one.

        ``first`` is the first of them, whose type and time the others have too.
        """
        assert first.number is not None
        whole: list[bytes] = []
        for self._received, payload in enumerate(payloads, first.number):
            whole += [payload] if chunk else self._packets.receive(payload)
        if whole:
            number = self._received - self._packets.waiting - len(whole) + 1
            self._store.put(Numbered(self._spool, first.type, first.timestamp, number, whole))

    def answer(self) -> None:
        """Says up to which number all is stored, once Redis has said it.

        What the client sends depends on the first answer: it must not be one that does not know.
        """
        if not self._heard:
            return
        self._send(self._receiver.answer(self._stored, int(time.time())))
        self._answered = asyncio.get_running_loop().time()

    def keep_alive(self) -> None:
        """Answers if the last answer is so long ago that the sensor could take the connection for dead."""
        if asyncio.get_running_loop().time() - self._answered >= HEARTBEAT:
            self.answer()

    def finish(self) -> None:
        """Ends the session. Packets that wait for the end of a line are dropped: they will be sent again."""
        self._store.unfollow(self._spool, self._hear)

    def _hear(self, stored: int) -> None:
        """Redis has stored all up to this number, of whichever connection it came.

        Only the first answer may name a number that this connection has not brought.
        """
        first, self._heard = not self._heard, True
        if not first:
            stored = min(stored, self._received)
        if first or stored > self._stored:
            self._stored = max(self._stored, stored)
            self.answer()
