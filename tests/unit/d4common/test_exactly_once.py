"""Both ends of the acknowledged session together, with everything between them that may go wrong.

The sensor's end and the server's are those that run; what lies between is a model: connections whose bytes
arrive in any portions, break anywhere and deliver late, and a store that compares and appends in one step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from d4common.acknowledged import AcknowledgedSession, AheadOfSpool
from d4common.sender import Identity, Sender
from d4common.session import Data, Receiver, Rules, Session

KEY = b"a key"
SPOOL = UUID("5e8e2b0f-2f6c-4d8e-9a53-3a1f0c8d7b21")
SENDER = Sender(Identity(UUID("ff7ba400-e76c-4053-982d-feec42bdef38"), KEY), 254, {"type": "maltrail"})
RULES = Rules(frozenset({254}), frozenset({"maltrail"}))
NOW = 1795544850

portions = st.just(1.0) | st.just(1.0) | st.floats(0, 1)
"""Of the bytes that are on their way, the part that arrives."""


def payload(number: int) -> bytes:
    """What a packet holds; some hold nothing."""
    return b"%d\n" % number * (number % 4)


@dataclass(frozen=True)
class Copy:
    """A copy of the spool: the oldest packet that waits, the last that a server can have."""

    first: int
    known: int


@dataclass
class Connection:
    """One connection: both its ends, and the bytes on their way."""

    client: AcknowledgedSession
    server: Receiver = field(default_factory=lambda: Receiver(RULES, acknowledged=True))
    to_server: bytearray = field(default_factory=bytearray)
    to_client: bytearray = field(default_factory=bytearray)


def take(data: bytearray, portion: float) -> bytes:
    """Removes the first part of ``data``."""
    size = round(portion * len(data))
    taken = bytes(data[:size])
    del data[:size]
    return taken


class ExactlyOnce(RuleBasedStateMachine):
    """A spool, its sensor, and a server, as docs/protocol.md has them."""

    @initialize()
    def start(self) -> None:
        self.first, self.next = 1, 10
        self.known = self.released = 0
        self.copies = [Copy(1, 0)]
        self.dropped: set[int] = set()
        self.stored: list[Data] = []
        self.current: Connection | None = None
        self.late: list[Connection] = []

    @rule(count=st.integers(1, 9))
    def put(self, count: int) -> None:
        self.next += count

    @precondition(lambda self: self.next > self.first + 5)
    @rule(count=st.integers(1, 5))
    def drop_oldest(self, count: int) -> None:
        """The spool is full."""
        self.dropped.update(range(self.first, self.first + count))
        self.first += count

    @precondition(lambda self: not self.current)
    @rule(restarted=st.booleans())
    def connect(self, restarted: bool = False) -> None:
        """A sensor that was restarted remembers its spool alone, and which of it can have been sent."""
        if restarted:
            self.known = self.released
        self.current = Connection(AcknowledgedSession(SENDER, SPOOL, self.first, self.known))
        self.current.to_server += self.current.client.opening(NOW)

    @precondition(lambda self: self.current)
    @rule(portion=portions)
    def break_off(self, portion: float) -> None:
        """All but the first part of what is on its way is lost; the server does not know of it yet."""
        self.current.to_server[:] = take(self.current.to_server, portion)
        self.late.append(self.current)
        self.current = None

    @rule()
    def copy(self) -> None:
        self.copies.append(Copy(self.first, self.released))

    @rule(which=st.integers(0), count=st.integers(0, 99))
    def restore(self, which: int, count: int) -> None:
        """A sensor with a copy finds out, whatever it has taken in meanwhile; or the copy is no older."""
        copy = self.copies[which % len(self.copies)]
        connection = Connection(AcknowledgedSession(SENDER, SPOOL, copy.first, copy.known))
        connection.to_server += connection.client.opening(NOW)
        self.deliver(connection, 1)
        if self.last() > max(copy.known, copy.first - 1):
            with pytest.raises(AheadOfSpool):
                connection.client.receive_data(bytes(connection.to_client))
            assert connection.client.acknowledged == copy.first - 1
        else:
            connection.client.receive_data(bytes(connection.to_client))

    @precondition(lambda self: self.current and self.current.client.answered)
    @rule(count=st.integers(1, 5))
    def send(self, count: int) -> None:
        """What is sent is known before."""
        self.released = self.next - 1
        client = self.current.client
        for _ in range(min(count, self.next - client.next)):
            if client.next < self.first:
                return self.break_off(1)  # what would be next is no longer there
            self.current.to_server += client.packet(client.next, NOW, payload(client.next))
            self.known = max(self.known, client.next - 1)

    @precondition(lambda self: self.current)
    @rule()
    def show_life(self) -> None:
        self.current.to_server += self.current.client.announcement(NOW)

    @precondition(lambda self: self.current)
    @rule(portion=portions)
    def arrive(self, portion: float) -> None:
        self.deliver(self.current, portion)

    @precondition(lambda self: self.late)
    @rule(which=st.integers(0), portion=portions)
    def arrive_late(self, which: int, portion: float) -> None:
        """On a connection that the sensor has given up."""
        self.deliver(self.late[which % len(self.late)], portion)

    @precondition(lambda self: self.current)
    @rule(portion=portions)
    def hear(self, portion: float) -> None:
        client = self.current.client
        client.receive_data(take(self.current.to_client, portion))
        assert client.acknowledged < self.next
        self.first = max(self.first, client.acknowledged + 1)

    @invariant()
    def each_once_and_in_order(self) -> None:
        numbers = [data.number for data in self.stored]
        assert numbers == sorted(set(numbers))
        assert all(data.payload == payload(data.number) for data in self.stored)

    @invariant()
    def nothing_leaves_the_spool_that_is_not_stored(self) -> None:
        gone = set(range(1, self.first)) - self.dropped
        assert gone <= {data.number for data in self.stored}

    def teardown(self) -> None:
        """In the end all is well for long enough: then nothing is missing but what was dropped."""
        if not hasattr(self, "late"):
            return
        while not self.current or self.current.client.next < self.next:
            if not self.current:
                self.connect()
            self.deliver(self.current, 1)
            self.hear(1)
            self.send(self.next)
        for connection in (self.current, *self.late):
            self.deliver(connection, 1)
        self.hear(1)
        self.each_once_and_in_order()
        assert set(range(1, self.next)) - {data.number for data in self.stored} <= self.dropped
        assert self.first == self.next

    def deliver(self, connection: Connection, portion: float) -> None:
        """The server's part, as section 2.3 and 2.4 have it."""
        server = connection.server
        server.authenticate(KEY)
        server.receive_data(take(connection.to_server, portion))
        while (event := server.next_event()) is not None:
            if isinstance(event, Data):
                self.append(event)
            if isinstance(event, Data | Session):
                connection.to_client += server.answer(self.last(), NOW)

    def append(self, data: Data) -> None:
        if data.number > self.last():
            self.stored.append(data)

    def last(self) -> int:
        return self.stored[-1].number if self.stored else 0


TestExactlyOnce = ExactlyOnce.TestCase
TestExactlyOnce.settings = settings(max_examples=100, stateful_step_count=40)
