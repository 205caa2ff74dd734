"""What is counted of each sensor, and how it comes into a real Redis and out again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.exceptions import RedisError

from d4common import records, redis_client
from d4server import lines, statistics
from d4server.statistics import DAY, Statistics, Volume

ONE, TWO = UUID("ff7ba400-e76c-4053-982d-feec42bdef38"), UUID("0e1a3c54-0b9c-4d1e-8c57-c39e3f3b1a11")
HERE = "192.0.2.1"


def run(path: Path, test: Callable[[Redis, Statistics], Awaitable[None]]) -> None:
    """Runs a test with statistics and the Redis at a Unix socket."""

    async def with_redis() -> None:
        redis = redis_client.connect(f"unix://{path}")
        try:
            await test(redis, Statistics())
        finally:
            await redis_client.close(redis)

    asyncio.run(with_redis())


def date(time_: float | None = None) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(time_))


@given(st.lists(st.sampled_from([b"x", b"\n", b"\r", b"\r\n"])).map(b"".join))
def test_records_are_counted_by_their_line_feeds(payload: bytes) -> None:
    assert lines.count(payload) == payload.count(b"\n")


def test_what_came_is_added_up_by_sensor_type_and_day(redis_socket: Path) -> None:
    async def test(redis: Redis, counted: Statistics) -> None:
        before = int(time.time())
        for _ in range(2):
            counted.data(ONE, HERE, "maltrail", 1, b"a\nb\n")
            counted.data(ONE, "192.0.2.2", "1", 1, b"\xa1\xb2\n\n\n", chunk=True)
            counted.data(TWO, HERE, "maltrail", 1, b"half a line")
            counted.refused("hmac", HERE, TWO)
            await counted.write(redis, 90)
        found = await statistics.today(redis, [ONE, TWO])
        assert found[ONE].volumes == {"maltrail": Volume(2, 8, 4), "1": Volume(2, 10, 2)}
        assert found[ONE].packets == 4
        assert found[TWO] == statistics.Day({"maltrail": Volume(2, 22, 0)}, {"hmac": 2}, {})
        total = await statistics.totals(redis)
        assert total == statistics.Day({"maltrail": Volume(4, 30, 4), "1": Volume(2, 10, 2)}, {"hmac": 2}, {})
        assert counted.volumes() == total.volumes, "since the start, for the metrics"
        key = f"d4:{{{records.partition(ONE)}}}:statistics:{ONE}:{date()}"
        first, last, address = await redis.hmget(key, "first", "last", "address")
        assert before <= int(first) <= int(last) <= time.time()
        assert address == b"192.0.2.2"
        assert await statistics.last_seen(redis) == {ONE: int(last), TWO: int(last)}

    run(redis_socket, test)


def test_every_key_ends_by_itself_but_for_the_times_of_the_last_days(redis_socket: Path) -> None:
    async def test(redis: Redis, counted: Statistics) -> None:
        stale = f"d4:{{{records.partition(ONE)}}}:seen"
        await redis.zadd(stale, {str(uuid4()): time.time() - 8 * DAY, str(uuid4()): time.time() - 6 * DAY})
        counted.data(ONE, HERE, "3", 1, b"x\n")
        counted.refused("size", HERE, None)
        await counted.write(redis, 7)
        keys = await redis.keys("*")
        ending = [key for key in keys if 0 < await redis.ttl(key) <= 7 * DAY]
        assert set(keys) - set(ending) == {stale.encode()}
        assert await redis.zcard(stale) == 2, "who was not heard for so long is forgotten"

    run(redis_socket, test)


def test_a_refusal_says_nothing_of_when_a_sensor_was_heard(redis_socket: Path) -> None:
    async def test(redis: Redis, counted: Statistics) -> None:
        counted.refused("hmac", "203.0.113.5", ONE)
        await counted.write(redis, 90)
        assert await statistics.last_seen(redis) == {}
        fields = await redis.hgetall(f"d4:{{{records.partition(ONE)}}}:statistics:{ONE}:{date()}")
        assert fields == {b"refused:hmac": b"1"}

    run(redis_socket, test)


def test_strangers_leave_nothing_but_counts_by_reason_and_class(redis_socket: Path) -> None:
    async def test(redis: Redis, counted: Statistics) -> None:
        for number in range(300):
            counted.refused("unknown-sensor", f"8.8.8.{number % 256}", None)
        counted.refused("size", "fd00::1", None)
        await counted.write(redis, 90)
        found = await statistics.totals(redis)
        assert found.strangers == {"unknown-sensor:ipv4-global": 300, "size:ipv6-private": 1}
        assert len(await redis.keys("*")) == 1

    run(redis_socket, test)


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "ipv4-loopback"),
        ("10.1.2.3", "ipv4-private"),
        ("169.254.1.1", "ipv4-link-local"),
        ("8.8.8.8", "ipv4-global"),
        ("::1", "ipv6-loopback"),
        ("fe80::1%eth0", "ipv6-link-local"),
        ("2a00::1", "ipv6-global"),
        ("unknown", "unknown"),
    ],
)
def test_an_address_has_a_class(address: str, kind: str) -> None:
    assert statistics.class_of(address) == kind


def test_each_packet_belongs_to_its_own_day(redis_socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(redis: Redis, counted: Statistics) -> None:
        midnight = int(time.time()) // DAY * DAY
        for now in (midnight - 1, midnight + 1):
            monkeypatch.setattr(time, "time", lambda now=now: now)
            counted.data(ONE, HERE, "3", 1, b"x\n")
        await counted.write(redis, 90)
        for now in (midnight - 1, midnight + 1):
            assert await redis.hget(f"d4:statistics:{date(now)}", "packets:3") == b"1"

    run(redis_socket, test)


def test_what_redis_does_not_take_is_written_when_it_does(redis_socket: Path) -> None:
    async def test(redis: Redis, counted: Statistics) -> None:
        sensors = [uuid4() for _ in range(250)]
        nowhere = redis_client.connect("unix:///nowhere")
        for round in range(3):
            for sensor in sensors:
                counted.data(sensor, HERE, "3", 1, b"x\n")
                counted.refused("hmac", HERE, sensor)
            counted.refused("size", HERE, None)
            if round < 2:
                with pytest.raises(RedisError):
                    await counted.write(nowhere, 90)
        await counted.write(redis, 90)
        total = await statistics.totals(redis)
        assert total == statistics.Day({"3": Volume(750, 1500, 750)}, {"hmac": 750}, {"size:ipv4-private": 3})
        found = await statistics.today(redis, sensors)
        assert {day.packets for day in found.values()} == {3}

    run(redis_socket, test)


def test_only_what_is_new_is_written(redis_socket: Path) -> None:
    async def test(redis: Redis, counted: Statistics) -> None:
        for _ in range(250):
            sensor = uuid4()
            for _ in range(20):
                counted.data(sensor, HERE, "3", 1, b"x\n")
        await counted.write(redis, 90)
        await redis.config_resetstat()
        await counted.write(redis, 90)
        assert "cmdstat_hincrby" not in await redis.info("commandstats"), "nothing new, nothing written"
        await counted.write(redis_client.connect("unix:///nowhere"), 90)
        for _ in range(20):
            counted.data(ONE, HERE, "3", 1, b"x\n")
        await counted.write(redis, 90)
        commands = await redis.info("commandstats")
        assert commands["cmdstat_hincrby"]["calls"] == 6, "three for the sensor, three for all"

    run(redis_socket, test)


def test_one_sensor_that_cannot_be_written_does_not_count_the_others_twice(redis_socket: Path) -> None:
    async def test(redis: Redis, counted: Statistics) -> None:
        bad = f"d4:{{{records.partition(ONE)}}}:statistics:{ONE}:{date()}"
        await redis.set(bad, "in the way")
        for sensor in (ONE, TWO):
            counted.data(sensor, HERE, "3", 1, b"x\n")
        for _ in range(3):
            with pytest.raises(RedisError):
                await counted.write(redis, 90)
        assert (await statistics.today(redis, [TWO]))[TWO].packets == 1
        await redis.delete(bad)
        await counted.write(redis, 90)
        assert (await statistics.today(redis, [ONE]))[ONE].packets == 1
        assert (await statistics.totals(redis)).packets == 2

    run(redis_socket, test)


def test_what_came_never_seems_less_while_it_is_written(redis_socket: Path) -> None:
    async def test(redis: Redis, counted: Statistics) -> None:
        sensors = [uuid4() for _ in range(300)]
        for _ in range(2):
            for sensor in sensors:
                counted.data(sensor, HERE, "3", 1, b"x\n")
            before = counted.volumes()["3"].packets
            writing = asyncio.create_task(counted.write(redis, 90))
            while not writing.done():
                assert counted.volumes()["3"].packets == before
                await asyncio.sleep(0)
            await writing
        assert counted.volumes()["3"].packets == 600

    run(redis_socket, test)
