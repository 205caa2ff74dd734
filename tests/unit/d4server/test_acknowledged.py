"""One acknowledged session: what it stores, and what it answers when it hears how far its spool has come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4common import redis_client
from d4common.packet import Decoder, encode
from d4common.records import Entry, Numbered, Spool
from d4common.session import Data, Hello, Receiver, Rules, Session
from d4server import acknowledged
from d4server.acknowledged import Acknowledged
from d4server.store import Store

KEY = b"a key"
SENSOR = UUID("ff7ba400-e76c-4053-982d-feec42bdef38")
SPOOL = UUID("0e1a3c54-0b9c-4d1e-8c57-c39e3f3b1a11")


class Shelf(Store):
    """A store that keeps what it is given; say() tells that Redis has it up to a number."""

    def __init__(self) -> None:
        super().__init__(redis_client.connect("unix:///nowhere"))
        self.put_there: list[Entry | Numbered] = []
        self.hearing: list[Callable[[int], None]] = []

    def put(self, entry: Entry | Numbered) -> None:
        self.put_there.append(entry)

    def follow(self, spool: Spool, number: int, hear: Callable[[int], None]) -> None:
        assert spool == Spool(SENSOR, SPOOL)
        self.put(Numbered(spool, "", 0, number, ()))
        self.hearing.append(hear)

    def unfollow(self, spool: Spool, hear: Callable[[int], None]) -> None:
        self.hearing.remove(hear)

    def say(self, stored: int) -> None:
        for hear in self.hearing:
            hear(stored)


class Server:
    """A session that has just been announced, with a shelf for its store."""

    def __init__(self, seq: int = 1) -> None:
        self.shelf = Shelf()
        self.answers: list[int] = []
        self._next = seq
        receiver = Receiver(Rules(frozenset({3}), frozenset()), acknowledged=True)
        document = {"type": "d4-session", "spool": str(SPOOL), "seq": seq}
        receiver.receive_data(encode(KEY, SENSOR.bytes, 2, json.dumps(document).encode(), 0))
        receiver.authenticate(KEY)
        assert receiver.next_event() == Hello(SENSOR, 2)
        session = receiver.next_event()
        assert isinstance(session, Session)
        self.session = Acknowledged(receiver, session, self.shelf, self._send)

    def take(self, payload: bytes, chunk: bool = False) -> None:
        """A packet with the next number."""
        self.session.take(Data("3", 7, payload, self._next), [payload], chunk)
        self._next += 1

    def _send(self, answer: bytes) -> None:
        decoder = Decoder()
        decoder.receive_data(answer)
        packet = decoder.next_packet()
        assert packet is not None and packet.authentic(KEY)
        self.answers.append(json.loads(packet.payload)["seq"])


def looping(test: Callable[[], None]) -> None:
    """Runs a test within an event loop, whose clock the session looks at."""

    async def run() -> None:
        test()

    asyncio.run(run())


def numbered(number: int, *payloads: bytes) -> Numbered:
    return Numbered(Spool(SENSOR, SPOOL), "3", 7, number, list(payloads))


@pytest.mark.parametrize(("stored", "answer"), [(4, 4), (9, 9), (3, 4), (0, 4)])
def test_it_asks_first_and_answers_when_it_knows(stored: int, answer: int) -> None:
    """What the client begins behind it has acknowledged or given up: nothing less is ever said."""

    def test() -> None:
        server = Server(seq=5)
        (question,) = server.shelf.put_there
        assert isinstance(question, Numbered) and not question.payloads
        server.session.keep_alive()
        assert server.answers == []
        server.shelf.say(stored)
        server.session.answer()
        server.shelf.say(stored)
        assert server.answers == [answer, answer]

    looping(test)


def test_packets_are_stored_with_their_numbers() -> None:
    def test() -> None:
        server = Server(seq=5)
        for payload in (b"a\n", b"b", b"", b"c\n", b"d"):
            server.take(payload)
        assert server.shelf.put_there[1:] == [numbered(5, b"a\n"), numbered(6, b"b", b"", b"c\n")]

    looping(test)


def test_chunks_of_a_byte_stream_are_stored_as_they_come() -> None:
    def test() -> None:
        server = Server()
        for payload in (b"a", b"", b"b\n"):
            server.take(payload, chunk=True)
        assert server.shelf.put_there[1:] == [
            numbered(number, payload) for number, payload in enumerate((b"a", b"", b"b\n"), 1)
        ]

    looping(test)


def test_nothing_is_answered_before_redis_has_said_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its first answer a client knows whether its numbers are free."""
    monkeypatch.setattr(acknowledged, "HEARTBEAT", 0)

    def test() -> None:
        server = Server()
        server.session.keep_alive()
        server.session.answer()
        assert server.answers == []

    looping(test)


def test_what_waits_at_the_end_is_dropped() -> None:
    def test() -> None:
        server = Server()
        server.take(b"half")
        server.session.finish()
        server.shelf.say(9)
        assert len(server.shelf.put_there) == 1
        assert server.answers == [] and server.shelf.hearing == []

    looping(test)


def test_only_the_first_answer_names_what_this_connection_has_not_brought() -> None:
    """Another connection of the same spool is ahead; the client of this one would take it for an error."""

    def test() -> None:
        server = Server(seq=1)
        server.shelf.say(4)
        server.shelf.say(9)
        for _ in range(6):
            server.take(b"x\n")
        server.shelf.say(9)
        server.take(b"x\n")
        server.shelf.say(12)
        assert server.answers == [4, 6, 7]

    looping(test)


@given(st.integers(1, 20), st.lists(st.integers(0, 30) | st.none(), max_size=30))
def test_answers_never_fall_and_are_never_above_what_came(seq: int, steps: list[int | None]) -> None:
    """A step is a packet (None), or hearing of that number."""

    def test() -> None:
        server, received = Server(seq), seq - 1
        heard = first = None
        for step in steps:
            if step is None:
                server.take(b"x\n")
                received += 1
                continue
            heard = step if heard is None else max(heard, step)
            first = max(seq - 1, heard) if first is None else first
            server.shelf.say(heard)
            assert server.answers[-1] == max(first, min(heard, received))
        assert server.answers == sorted(set(server.answers)), "and nothing is said twice"

    looping(test)


def test_the_last_answer_is_given_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    def test() -> None:
        server = Server()
        server.shelf.say(1)
        server.session.keep_alive()
        assert server.answers == [1]
        monkeypatch.setattr(acknowledged, "HEARTBEAT", 0)
        server.session.keep_alive()
        assert server.answers == [1, 1], "although Redis has not answered again"

    looping(test)
