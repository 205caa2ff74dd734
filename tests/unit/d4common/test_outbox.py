"""The outbox in memory: which lines wait in which packets, and how many of them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from d4common.outbox import MemoryOutbox, Numbered, Outbox

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, 10))


async def payloads(outbox: Outbox, number: int = 0, most: int = 10**9) -> list[bytes]:
    return [packet.payload for packet in await outbox.read(number, most)]


def filled(*lines: bytes, most: int = 1000, snaplen: int = 6) -> MemoryOutbox:
    outbox = MemoryOutbox(most, snaplen)
    for line in lines:
        outbox.put(line)
    return outbox


def test_lines_wait_in_packets_that_keep_their_numbers() -> None:
    async def test() -> None:
        outbox = filled(b"1\n", b"22\n", b"333\n", b"long line\n", b"x\n")
        assert (outbox.first, len(outbox)) == (1, 5)
        found = await outbox.read(1, 10**9)
        assert [packet.number for packet in found] == [1, 2, 3, 4, 5] == [*range(1, outbox.next)]
        assert [packet.payload for packet in found] == [b"1\n22\n", b"333\n", b"long l", b"ine\n", b"x\n"]
        outbox.put(b"y\n")
        assert await outbox.read(1, 10**9) == [*found, Numbered(6, found[0].timestamp, b"y\n")]

    run(test())


def test_packets_are_read_from_a_number_on_and_as_many_as_asked_for() -> None:
    async def test() -> None:
        outbox = filled(b"1\n", b"long\n", b"longer\n", b"2\n", snaplen=7)
        assert await payloads(outbox, 0, 12) == [b"1\nlong\n"]
        assert await payloads(outbox, 2, 9) == [b"longer\n", b"2\n"]
        assert await payloads(outbox, 2, 1) == [b"longer\n"]
        assert await payloads(outbox, 4, 9) == []

    run(test())


def test_what_is_acknowledged_leaves() -> None:
    async def test() -> None:
        outbox = filled(b"12345\n", b"6789a\n", b"bcdef\n")
        await outbox.acknowledge(2)
        await outbox.acknowledge(1)
        assert (outbox.first, outbox.next, len(outbox)) == (3, 4, 1)
        assert await payloads(outbox, 1) == [b"bcdef\n"]
        await outbox.acknowledge(9)
        assert (outbox.first, outbox.next, len(outbox)) == (4, 4, 0)

    run(test())


def test_full_outbox_drops_the_oldest_packets_and_counts_their_lines() -> None:
    async def test() -> None:
        outbox = filled(b"12\n", b"34\n", b"56789\n", b"abcde\n", most=14)
        assert (outbox.first, len(outbox), outbox.dropped) == (2, 2, 2)
        assert await payloads(outbox, 1) == [b"56789\n", b"abcde\n"]

    run(test())


def test_outbox_tells_when_it_is_filled_and_when_it_is_empty() -> None:
    async def test() -> None:
        outbox = filled()
        await outbox.empty()
        waiting = [asyncio.create_task(outbox.filled(number)) for number in (1, 1, 2)]
        await asyncio.sleep(0)
        outbox.put(b"1\n")
        await asyncio.wait(waiting[:2])
        assert not waiting[2].done()
        empty = asyncio.create_task(outbox.empty())
        await outbox.read(1, 1)
        outbox.put(b"2\n")
        await waiting[2]
        await outbox.acknowledge(1)
        assert not empty.done()
        await outbox.read(2, 1)
        await outbox.acknowledge(2)
        await empty

    run(test())
