"""What a client sends from: packets that wait, numbered, until the server has them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import NamedTuple, Protocol
from uuid import UUID, uuid4

from d4common.sender import pack_lines


class Numbered(NamedTuple):
    """A packet that waits. Nothing of it ever changes; ``timestamp`` is in seconds since the epoch."""

    number: int
    timestamp: int
    payload: bytes


class Outbox(Protocol):
    """Packets that wait, numbered from 1 in the order in which they are to be sent.

    A packet leaves when the server has acknowledged it, or where there is no more room: the oldest first.
    """

    @property
    def id(self) -> UUID:
        """Whose numbers these are: as long as this stays the same, a number means the same packet."""

    @property
    def first(self) -> int:
        """The number of the oldest packet that waits; ``next`` where none does."""

    @property
    def next(self) -> int:
        """The number that the next packet to come will get."""

    @property
    def known(self) -> int:
        """The last number that a server can have; nothing that comes behind it was ever sent."""

    @property
    def advice(self) -> str:
        """What to do where a server has packets with higher numbers, a sentence."""

    async def release(self) -> None:
        """Returns when all that waits, and all that comes, may be sent: it is known from now on."""

    async def read(self, number: int, most: int) -> list[Numbered]:
        """Packets from ``number`` on, or from the first behind it that still waits, in a row.

        ``most`` bytes of payload together, but at least one packet if there is any.
        """

    async def filled(self, number: int) -> None:
        """Returns when a packet waits that has this number or a later one."""

    async def acknowledge(self, number: int) -> None:
        """The server has all up to this number, which need not wait any more."""


def up_to(most: int, packets: Iterable[Numbered]) -> list[Numbered]:
    """The first packets, as many as have ``most`` bytes of payload together, at least one."""
    found: list[Numbered] = []
    for packet in packets:
        most -= len(packet.payload)
        if found and most < 0:
            break
        found.append(packet)
    return found


class MemoryOutbox:
    """An Outbox of lines that need not outlive the process, at most ``most`` bytes of them.

    A packet has as many whole lines as ``snaplen`` bytes of payload allow, of those that are there when it
    is read. When the outbox is full the oldest packets go; their lines are counted in ``dropped``.
    """

    known = 0
    advice = "start it again"

    def __init__(self, most: int, snaplen: int) -> None:
        self.id = uuid4()
        self.first = 1
        self.dropped = 0
        self._most = most
        self._snaplen = snaplen
        self._packets: deque[Numbered] = deque()
        self._fresh: list[bytes] = []
        """Lines that are in no packet yet."""
        self._fresh_size = 0
        self._size = 0
        self._lines = 0
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        """Lines that wait."""
        return self._lines

    @property
    def next(self) -> int:
        return self.first + len(self._packets) + bool(self._fresh)

    def put(self, line: bytes) -> None:
        """Adds a line, which has its line feed."""
        if self._fresh_size + len(line) > self._snaplen:
            self._pack()
        self._fresh.append(line)
        self._fresh_size += len(line)
        self._size += len(line)
        self._lines += 1
        if self._fresh_size >= self._snaplen:
            self._pack()
        while self._size > self._most and self._packets:
            self.dropped += self._leave()
        self._changed.set()

    async def release(self) -> None:
        """No process but this one can have sent anything."""

    async def read(self, number: int, most: int) -> list[Numbered]:
        self._pack()
        return up_to(most, islice(self._packets, max(number - self.first, 0), None))

    async def filled(self, number: int) -> None:
        await self._until(lambda: number < self.next)

    async def acknowledge(self, number: int) -> None:
        while self._packets and self.first <= number:
            self._leave()
        self._changed.set()

    async def empty(self) -> None:
        """Returns when nothing waits."""
        await self._until(lambda: self.first == self.next)

    def _pack(self) -> None:
        for payload in pack_lines(self._fresh, self._snaplen):
            number = self.first + len(self._packets)
            self._packets.append(Numbered(number, int(time.time()), payload))
        self._fresh.clear()
        self._fresh_size = 0

    def _leave(self) -> int:
        """Takes the oldest packet out; the lines that ended in it."""
        payload = self._packets.popleft().payload
        lines = payload.count(b"\n")
        self.first += 1
        self._size -= len(payload)
        self._lines -= lines
        return lines

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()
