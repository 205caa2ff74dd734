"""The store in front of a real Redis: order, bounds, Redis away."""

from __future__ import annotations

import asyncio
import logging
import select
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis
from serving import own_redis
from waiting import until

from d4common import journal, records, redis_client
from d4common.compression import decompress
from d4common.records import Entry, Numbered, Spool
from d4common.service import cancel
from d4server import store
from d4server.store import Store

SENSORS = [uuid4() for _ in range(5)]


def run(path: Path, test: Callable[[Redis, Store], Awaitable[None]]) -> None:
    """Runs a test with a store in front of the Redis at a Unix socket; the store does not run yet."""

    async def with_redis() -> None:
        redis = redis_client.connect(f"unix://{path}")
        try:
            await test(redis, Store(redis))
        finally:
            await redis_client.close(redis)

    asyncio.run(with_redis())


def entry(text: str | bytes, sensor: UUID = SENSORS[0]) -> Entry:
    return Entry(sensor, "maltrail", 7, text if isinstance(text, bytes) else text.encode())


async def stored(redis: Redis, sensor: UUID = SENSORS[0]) -> list[bytes]:
    """What Redis has of a sensor."""
    found = await redis.xrange(records.stream("maltrail", records.partition(sensor)))
    return [decompress(fields) for _, fields in found if fields[b"sensor"] == sensor.bytes]


async def transactions(redis: Redis) -> int:
    """Transactions that Redis has done since config_resetstat()."""
    return int((await redis.info("commandstats")).get("cmdstat_exec", {}).get("calls", 0))


def test_each_sensors_entries_are_stored_in_order(redis_socket: Path) -> None:
    async def test(redis: Redis, taken: Store) -> None:
        running = asyncio.create_task(taken.run())
        for number in range(200):
            for sensor in SENSORS:
                taken.put(entry(str(number), sensor))
            await asyncio.sleep(0)
        await taken.flushed()
        for sensor in SENSORS:
            assert await stored(redis, sensor) == [b"%d" % number for number in range(200)]
        assert taken.stored == 1000
        await cancel(running)

    run(redis_socket, test)


def test_what_gathers_goes_in_batches_of_some_size(
    redis_socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(redis: Redis, taken: Store) -> None:
        monkeypatch.setattr(store, "MAX_BATCH", 1 << 14)
        await redis.config_resetstat()
        for _ in range(8):
            taken.put(entry(b"x" * (1 << 13)))
        running = asyncio.create_task(taken.run())
        await taken.flushed()
        assert 4 <= await transactions(redis) <= 8
        await cancel(running)

    run(redis_socket, test)


def test_entries_of_a_byte_count_as_what_they_cost(redis_socket: Path) -> None:
    """Nobody may fill the memory, nor block Redis, with entries that hold next to nothing."""

    async def test(redis: Redis, taken: Store) -> None:
        await redis.config_resetstat()
        waiting = asyncio.create_task(taken.room())
        for number in range(100_000):
            taken.put(entry(b"x"))
            if number % 1000 == 0 and not await free(taken):
                break
        assert not await free(taken)
        running = asyncio.create_task(taken.run())
        await taken.flushed()
        assert await transactions(redis) >= 5
        await cancel(running)
        await waiting

    run(redis_socket, test)


async def free(taken: Store) -> bool:
    """Whether room() returns."""
    try:
        await asyncio.wait_for(taken.room(), 0.01)
    except TimeoutError:
        return False
    return True


def test_there_is_no_room_until_redis_has_taken_enough(redis_socket: Path) -> None:
    async def test(redis: Redis, taken: Store) -> None:
        assert await free(taken)
        for _ in range(store.MAX_WAITING >> 18):
            taken.put(entry(b"x" * (1 << 18)))
        assert not await free(taken)
        running = asyncio.create_task(taken.run())
        await asyncio.wait_for(taken.room(), 10)
        await taken.flushed()
        assert len(await stored(redis)) == store.MAX_WAITING >> 18
        await cancel(running)

    run(redis_socket, test)


def test_flushed_returns_at_once_when_nothing_waits(redis_socket: Path) -> None:
    async def test(redis: Redis, taken: Store) -> None:
        running = asyncio.create_task(taken.run())
        await asyncio.wait_for(taken.flushed(), 0.1)
        await cancel(running)

    run(redis_socket, test)


def test_what_redis_did_not_take_before_the_stop_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(redis: Redis, taken: Store) -> None:
        monkeypatch.setattr(store, "STOP_TIME", 0.05)
        running = asyncio.create_task(taken.run())
        taken.put(entry("x" * 1000))
        await taken.flushed()
        await cancel(running)
        (lost,) = (each for each in caplog.records if "lost" in each.message)
        assert lost.levelno == logging.ERROR

    run(tmp_path / "nobody.sock", test)


def test_what_was_put_while_redis_was_away_is_stored_when_it_comes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    redis_server = own_redis(tmp_path)

    async def test(redis: Redis, taken: Store) -> None:
        running = asyncio.create_task(taken.run())
        taken.put(entry("first"))
        await until(lambda: "Redis does not store" in caplog.text)
        taken.put(entry("second"))
        await asyncio.to_thread(redis_server.start)
        await taken.flushed()
        assert await stored(redis) == [b"first", b"second"]
        await cancel(running)
        assert caplog.text.count("Redis does not store") == caplog.text.count("Redis is back") == 1

    try:
        run(tmp_path / "redis.sock", test)
    finally:
        redis_server.stop()


def test_an_error_of_redis_does_not_put_the_data_into_the_log(
    redis_socket: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(redis: Redis, taken: Store) -> None:
        await redis.config_set("maxmemory", 1)
        running = asyncio.create_task(taken.run())
        try:
            taken.put(entry("private" * 1000))
            await until(lambda: "Redis does not store" in caplog.text)
        finally:
            await cancel(running)
            await redis.config_set("maxmemory", 0)

    run(redis_socket, test)
    assert "maxmemory" in caplog.text
    assert "private" not in caplog.text


def test_a_redis_that_dies_over_an_answer_is_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Killed with a command unread: the kernel resets the connection instead of ending it."""

    async def hang_up(listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        connection, _ = await loop.sock_accept(listening)
        with connection:
            connection.setblocking(False)
            await until(lambda: select.select([connection], [], [], 0)[0])

    async def test(redis: Redis, taken: Store) -> None:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(tmp_path / "redis.sock"))
            listening.setblocking(False)
            listening.listen()
            dying = asyncio.create_task(hang_up(listening))
            running = asyncio.create_task(taken.run())
            taken.put(entry("one"))
            await dying
            await until(lambda: running.done() or "Redis does not store" in caplog.text)
            assert not running.done(), running.result()
            await cancel(running)

    run(tmp_path / "redis.sock", test)


# What is numbered.

SPOOLS = [Spool(SENSORS[0], uuid4()) for _ in range(2)]


def numbered(number: int, text: str, spool: Spool = SPOOLS[0]) -> Numbered:
    return Numbered(spool, "maltrail", 7, number, [text.encode()])


def test_who_follows_a_spool_hears_once_for_each_batch(redis_socket: Path) -> None:
    async def test(redis: Redis, taken: Store) -> None:
        one, other, elsewhere = list[int](), list[int](), list[int]()
        taken.follow(SPOOLS[0], 1, one.append)
        taken.follow(SPOOLS[0], 1, other.append)
        taken.follow(SPOOLS[1], 1, elsewhere.append)
        for number in range(1, 6):
            taken.put(numbered(number, "x"))
        taken.put(entry("plain"))
        running = asyncio.create_task(taken.run())
        await taken.flushed()
        assert (one, other, elsewhere) == ([0, 5], [0, 5], [0])
        taken.unfollow(SPOOLS[0], one.append)
        taken.put(numbered(6, "y"))
        taken.put(numbered(1, "z", SPOOLS[1]))
        await taken.flushed()
        assert (one, other, elsewhere) == ([0, 5], [0, 5, 6], [0, 1])
        assert taken.stored == 8
        await cancel(running)

    run(redis_socket, test)


def test_who_follows_hears_nothing_of_what_was_on_its_way_before(redis_socket: Path) -> None:
    """More of its spool may wait behind that, of which the first answer must know."""

    async def test(redis: Redis, taken: Store) -> None:
        heard: list[int] = []
        taken.put(numbered(1, "x"))
        running = asyncio.create_task(taken.run())
        await asyncio.sleep(0)  # the batch is on its way
        taken.put(numbered(2, "y"))
        taken.follow(SPOOLS[0], 3, heard.append)
        await taken.flushed()
        assert set(heard) == {2}
        await cancel(running)

    run(redis_socket, test)


def test_who_follows_hears_nothing_until_redis_has_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    redis_server = own_redis(tmp_path)

    async def test(redis: Redis, taken: Store) -> None:
        heard: list[int] = []
        taken.follow(SPOOLS[0], 1, heard.append)
        running = asyncio.create_task(taken.run())
        taken.put(numbered(1, "x"))
        await until(lambda: "Redis does not store" in caplog.text)
        assert heard == []
        await asyncio.to_thread(redis_server.start)
        await taken.flushed()
        assert heard == [0, 1]
        await cancel(running)

    try:
        run(tmp_path / "redis.sock", test)
    finally:
        redis_server.stop()


def test_repeats_and_gaps_are_counted_and_gaps_logged(
    redis_socket: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(redis: Redis, taken: Store) -> None:
        running = asyncio.create_task(taken.run())
        for number in (1, 1, 2, 1, 7):
            taken.put(numbered(number, "x"))
        await taken.flushed()
        assert (taken.stored, taken.repeated, taken.gaps) == (3, 2, 1)
        await cancel(running)

    run(redis_socket, test)
    (gap,) = caplog.records
    assert f"packets 3 to 6 of its spool {SPOOLS[0].id}" in gap.message
    assert vars(gap)["D4_SENSOR"] == str(SENSORS[0])
    assert vars(gap)["MESSAGE_ID"] == journal.GAP


def test_small_packets_that_are_stored_together_count_each(redis_socket: Path) -> None:
    async def test(redis: Redis, taken: Store) -> None:
        running = asyncio.create_task(taken.run())
        taken.put(Numbered(SPOOLS[0], "maltrail", 7, 1, [b""] * (store.MAX_WAITING // store.OVERHEAD + 1)))
        assert not await free(taken)
        await taken.flushed()
        await cancel(running)

    run(redis_socket, test)
