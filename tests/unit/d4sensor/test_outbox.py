from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spooling import files_of_at_most, kill, opened, opener, start, waiting
from waiting import until

from d4common.journal import SPOOL_BLOCKED, SPOOL_DROPPED
from d4sensor import outbox as module
from d4sensor.outbox import SpoolOutbox, packed_chunks, packed_lines
from d4sensor.spool import Spool
from d4sensor.spoolfile import SpoolDamaged, SpoolError

SNAPLEN = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "maltrail.spool"


@asynccontextmanager
async def running(open_spool: Callable[[], Spool], **options: object) -> AsyncIterator[SpoolOutbox]:
    outbox = SpoolOutbox(open_spool, SNAPLEN, **options)  # type: ignore[arg-type]
    await outbox.open()
    try:
        yield outbox
    finally:
        await outbox.close()


def line(number: int) -> bytes:
    return b"%0149d\n" % number


def lines(first: int, behind: int) -> list[bytes]:
    return [line(number) for number in range(first, behind)]


async def drain(outbox: SpoolOutbox) -> bytes:
    """All that waits, acknowledged."""
    got = b""
    while outbox.first < outbox.next:
        packets = await outbox.read(outbox.first, 1 << 20)
        got += b"".join(packet.payload for packet in packets)
        await outbox.acknowledge(packets[-1].number)
    return got


def test_what_is_put_waits_in_the_spool_until_it_is_acknowledged(path: Path) -> None:
    async def run() -> None:
        async with running(opener(path)) as outbox:
            for record in lines(0, 100):
                outbox.put(record)
            await outbox.filled(1)
            await outbox.committed()
            assert (outbox.first, outbox.next, len(outbox)) == (1, 5, 100)
            packets = await outbox.read(1, 10_000)
            assert [(packet.number, packet.payload) for packet in packets] == [
                (1, b"".join(lines(0, 27))),
                (2, b"".join(lines(27, 54))),
            ]
            assert abs(packets[0].timestamp - time.time()) < 60
            await outbox.acknowledge(2)
            assert outbox.first == 3
            await outbox.acknowledge(1)
            assert outbox.first == 3
        with closing(opened(path)) as spool:
            assert [packet.number for packet in waiting(spool)] == [3, 4]
            assert spool.id == outbox.id

    asyncio.run(run())


def test_filled_waits_for_a_number(path: Path) -> None:
    async def run() -> None:
        async with running(opener(path)) as outbox:
            third = asyncio.create_task(outbox.filled(3))
            for number in (1, 2):
                outbox.put(line(number))
                await outbox.filled(number)
                assert not third.done()
            outbox.put(line(3))
            await asyncio.wait_for(third, 10)
            await outbox.acknowledge(3)
            empty = asyncio.create_task(outbox.filled(1))
            await outbox.empty()
            assert not empty.done()
            empty.cancel()

    asyncio.run(run())


def test_what_came_before_it_was_open_is_sent_too(path: Path) -> None:
    async def run() -> None:
        outbox = SpoolOutbox(opener(path), SNAPLEN)
        outbox.put(line(1))
        assert len(outbox) == 1
        await outbox.open()
        await outbox.close()
        with closing(opened(path)) as spool:
            assert [packet.payload for packet in waiting(spool)] == [line(1)]

    asyncio.run(run())


def test_who_can_wait_may_begin_before_it_is_open(path: Path) -> None:
    async def run() -> None:
        outbox = SpoolOutbox(opener(path), SNAPLEN)
        await outbox.put_all(lines(0, 100))
        more = asyncio.create_task(outbox.put_all(lines(100, 200)))
        await asyncio.sleep(0)
        assert not more.done()
        await outbox.open()
        await asyncio.wait_for(more, 10)
        await outbox.committed()
        assert await drain(outbox) == b"".join(lines(0, 200))
        await outbox.close()

    asyncio.run(run())


def test_what_comes_before_the_release_is_not_known(path: Path) -> None:
    """Nor after a start, as long as no server was heard: a server that has it has it of another copy."""

    async def run() -> None:
        for number in (1, 2):
            async with running(opener(path)) as outbox:
                await outbox.put_all([line(number)])
                await outbox.committed()
                assert (outbox.known, outbox.next) == (0, number + 1)
        async with running(opener(path)) as outbox:
            await outbox.release()
            assert outbox.known == 2
            await outbox.put_all([line(3)])
            await outbox.committed()
            assert outbox.known == 3
        async with running(opener(path)) as outbox:
            assert outbox.known == 3
            assert outbox.advice.endswith(
                f"Stop the sensor, run `d4-sensor spool renew {path}`, and start it again"
            )

    asyncio.run(run())


def test_a_backlog_is_read_from_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TAIL", 50_000)

    async def run() -> None:
        async with running(opener(path)) as outbox:
            for first in range(0, 10_000, 100):
                await outbox.put_all(lines(first, first + 100))
            await outbox.committed()
        async with running(opener(path)) as outbox:
            await outbox.put_all(lines(10_000, 10_100))
            await outbox.committed()
            assert await drain(outbox) == b"".join(lines(0, 10_100))
            await outbox.empty()

    asyncio.run(run())


def test_the_position_is_that_of_what_is_in_the_spool(path: Path) -> None:
    async def run() -> None:
        async with running(opener(path)) as outbox:
            assert outbox.position is None
            await outbox.put_all([line(1)], "first")
            await outbox.put_all([line(2)], "second")
            await outbox.put_all([line(3)])
            await outbox.committed()
            assert outbox.position == "second"
            await outbox.put_all([], "third")
        async with running(opener(path)) as outbox:
            assert outbox.position == "third"

    asyncio.run(run())


def test_who_can_wait_waits_for_room_in_the_spool(path: Path) -> None:
    async def run() -> None:
        async with running(opener(path, most_bytes=10_000)) as outbox:
            await outbox.put_all(lines(0, 60))
            more = asyncio.create_task(outbox.put_all(lines(60, 120)))
            await outbox.committed()
            await asyncio.sleep(0)
            assert not more.done()
            got = b"".join(packet.payload for packet in await outbox.read(1, 1 << 20))
            await outbox.acknowledge(outbox.next - 1)
            await asyncio.wait_for(more, 10)
            await outbox.committed()
            got += await drain(outbox)
            assert got == b"".join(lines(0, 120))
            assert outbox.dropped == 0

    asyncio.run(run())


def test_who_cannot_wait_loses_the_oldest_which_is_said(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with running(opener(path, most_bytes=10_000)) as outbox:
            for number in range(100):
                outbox.put(line(number))
                if number % 10 == 9:
                    await outbox.committed()
            left = await drain(outbox)
            dropped = outbox.dropped
            assert 0 < dropped < 50
            assert left == b"".join(lines(dropped, 100))

    asyncio.run(run())
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.__dict__["MESSAGE_ID"] == SPOOL_DROPPED
    assert "events, the oldest, were dropped" in record.getMessage()


def test_a_full_disk_costs_only_what_memory_cannot_hold(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "RETRY", 0.05)
    monkeypatch.setattr(module, "MOST_IN_MEMORY", 300_000)
    caplog.set_level(logging.INFO)

    async def run() -> None:
        async with running(opener(path)) as outbox:
            with files_of_at_most(100_000):
                for number in range(1000):
                    outbox.put(line(number))
                await until(lambda: outbox.trouble)
                assert "cannot be read and written now" in outbox.trouble
                assert (len(outbox), outbox.dropped) == (1000, 0)
                monkeypatch.setattr(module, "ENOUGH_IN_MEMORY", 100_000)
                waits = asyncio.create_task(outbox.put_all(lines(5000, 6500)))
                for number in range(1000, 2500):
                    outbox.put(line(number))
                assert outbox.dropped == 500
                await until(lambda: SPOOL_DROPPED in told(caplog))
                assert not waits.done()
            await asyncio.wait_for(waits, 10)
            await outbox.committed()
            assert outbox.trouble == ""
            assert await drain(outbox) == b"".join(lines(500, 2500) + lines(5000, 6500))

    asyncio.run(run())
    assert told(caplog) == [SPOOL_BLOCKED, SPOOL_DROPPED, SPOOL_BLOCKED]
    assert caplog.messages[-1] == "the spool can be written again"


def told(caplog: pytest.LogCaptureFixture) -> list[UUID]:
    """The kinds of messages that were logged."""
    return [record.__dict__["MESSAGE_ID"] for record in caplog.records if "MESSAGE_ID" in record.__dict__]


def test_a_full_disk_at_the_start_is_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY", 0.05)

    async def run() -> None:
        outbox = SpoolOutbox(opener(path), SNAPLEN)
        outbox.put(line(1))
        with files_of_at_most(1000):
            opening = asyncio.create_task(outbox.open())
            await until(lambda: outbox.trouble)
        await asyncio.wait_for(opening, 10)
        assert outbox.trouble == ""
        await outbox.committed()
        assert await drain(outbox) == line(1)
        await outbox.close()

    asyncio.run(run())


def test_a_stop_on_a_full_disk_says_what_is_lost(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        outbox = SpoolOutbox(opener(path), SNAPLEN)
        await outbox.open()
        with files_of_at_most(1000):
            outbox.put(line(1))
            await outbox.close()
        assert len(outbox) == 0

    asyncio.run(run())
    assert "1 events could not be written to disk before the stop and are lost" in caplog.text


def test_a_spool_that_cannot_be_used_is_refused_at_once(path: Path) -> None:
    async def run() -> None:
        with closing(opened(path)):
            outbox = SpoolOutbox(opener(path), SNAPLEN)
            with pytest.raises(SpoolError, match="in use"):
                await outbox.open()
            await outbox.close()

    asyncio.run(run())


def test_damage_meanwhile_is_told_to_who_waits_and_what_came_is_kept(path: Path) -> None:
    async def run() -> None:
        outbox = SpoolOutbox(opener(path), SNAPLEN)
        await outbox.open()
        await outbox.put_all(lines(0, 10_000))
        await outbox.committed()
        waits = asyncio.create_task(outbox.filled(outbox.next))
        spool = outbox._spool
        await asyncio.get_running_loop().run_in_executor(
            outbox._thread, spool._database.execute, "DROP TABLE about"
        )
        outbox.put(line(10_000))
        await outbox.acknowledge(100)  # not on disk, and no number of the spool that is made now
        with pytest.raises(SpoolDamaged):
            await asyncio.wait_for(waits, 10)
        with pytest.raises(SpoolDamaged):
            await outbox.read(1, 1)
        outbox.put(line(10_001))
        await outbox.close()
        async with running(opener(path)) as outbox:
            assert await drain(outbox) == b"".join(lines(0, 10_002))

    asyncio.run(run())


def test_the_loop_goes_on_while_the_disk_blocks(path: Path) -> None:
    async def run() -> None:
        async with running(opener(path)) as outbox:
            outbox._thread.submit(time.sleep, 0.3)
            outbox.put(line(1))
            began = time.monotonic()
            for number in range(2, 50):
                outbox.put(line(number))
                await asyncio.sleep(0)
            assert time.monotonic() - began < 0.2
            await outbox.committed()
            assert await drain(outbox) == b"".join(lines(1, 50))

    asyncio.run(run())


def test_few_events_are_committed_one_by_one_many_together(path: Path) -> None:
    async def run() -> None:
        async with running(opener(path)) as outbox:
            for number in range(3):
                outbox.put(line(number))
                await outbox.committed()
            assert outbox.next == 4
            for number in range(27 * 100):
                outbox.put(line(number))
            await outbox.committed()
            assert outbox.next == 104

    asyncio.run(run())


@given(st.lists(st.binary(max_size=50)), st.integers(1, 20))
def test_chunks_keep_their_bytes_and_their_number(chunks: list[bytes], snaplen: int) -> None:
    packets = list(packed_chunks(chunks, snaplen))
    assert b"".join(packet.payload for packet in packets) == b"".join(chunks)
    assert sum(packet.records for packet in packets) == sum(map(bool, chunks))
    assert all(0 < len(packet.payload) <= snaplen for packet in packets)


def test_what_is_last_ends_with_a_line_feed(path: Path) -> None:
    """A server would wait for it for ever."""

    async def run() -> None:
        async with running(opener(path)) as outbox:
            outbox.put(b"one")
            await outbox.committed()
            await outbox.put_all([b"two\n", b"three"])
            await outbox.committed()
            assert len(outbox) == 3
            assert await drain(outbox) == b"one\ntwo\nthree\n"

    asyncio.run(run())


@given(st.lists(st.integers(0, 50)), st.integers(1, 60))
def test_lines_keep_their_bytes_and_their_number(sizes: list[int], snaplen: int) -> None:
    records = [b"x" * size + b"\n" for size in sizes]
    packets = list(packed_lines(records, snaplen))
    assert b"".join(packet.payload for packet in packets) == b"".join(records)
    assert sum(packet.records for packet in packets) == len(records)


PROMISING = """
import asyncio, sys
from pathlib import Path
from spooling import opener
from d4sensor.outbox import SpoolOutbox

async def run():
    outbox = SpoolOutbox(opener(Path(sys.argv[1])), 4096)
    await outbox.open()
    number = int(outbox.position or 0)
    while True:
        await outbox.put_all([b"%0149d\\n" % n for n in range(number, number + 100)], str(number + 100))
        number += 100
        await outbox.committed()
        print(number, flush=True)

asyncio.run(run())
"""


def test_a_source_goes_on_where_a_killed_process_was(path: Path) -> None:
    for _ in range(3):
        process = start(PROMISING, path)
        assert process.stdout is not None
        printed = "".join(process.stdout.readline() for _ in range(10)) + kill(process)
        promised = int([text for text in printed.splitlines(keepends=True) if text.endswith("\n")][-1])
    with closing(opened(path)) as spool:
        got = b"".join(packet.payload for packet in waiting(spool))
        assert spool.about.position is not None
        number = int(spool.about.position)
        assert promised <= number <= promised + 100
        assert got == b"".join(lines(0, number))
