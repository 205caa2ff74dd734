"""Records in a real Redis: order, atomicity, queues, what a dead consumer left, and trimming."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.exceptions import RedisError

from d4common import records
from d4common.records import Consumer, Delivery, Entry, Numbered, Progress, QueueMissing, Spool

SENSORS = [UUID(f"ff7ba400-e76c-4053-982d-feec42bdef{last:02x}") for last in range(records.PARTITIONS)]
"""One for each partition."""
SENSOR = SENSORS[7]

NOW = 0.001
"""Seconds to wait for what is there already."""


@asynccontextmanager
async def redis_at(socket: Path) -> AsyncIterator[Redis]:
    redis = records.connect(f"unix://{socket}")
    try:
        yield redis
    finally:
        await redis.connection_pool.disconnect()


def run(socket: Path, test: Callable[[Redis], Awaitable[None]]) -> None:
    """Runs a test with a client of the Redis at this socket."""

    async def with_redis() -> None:
        async with redis_at(socket) as redis:
            await asyncio.wait_for(test(redis), 20)

    asyncio.run(with_redis())


def entries(*texts: str, sensor: UUID = SENSOR, type: str = "maltrail") -> list[Entry]:
    return [Entry(sensor, type, time, text.encode()) for time, text in enumerate(texts)]


def texts(deliveries: list[Delivery]) -> str:
    return " ".join(delivery.entry.data.decode() for delivery in deliveries)


async def length(redis: Redis, type: str = "maltrail") -> int:
    return sum([await redis.xlen(key) for key in records.streams(type)])


def test_sensor_has_the_partition_of_its_last_byte() -> None:
    """Other servers and exporters rely on it, as on the names."""
    assert [records.partition(sensor) for sensor in SENSORS] == list(range(16))
    assert records.stream("maltrail", 7) == "d4:{7}:maltrail"
    assert records.streams("8")[15] == "d4:{15}:8" and len(records.streams("8")) == 16


def test_records_of_a_sensor_keep_their_order(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await records.create_queue(redis, "maltrail", "q")
        consumer = Consumer(redis, "maltrail", "q", "c")
        mixed = [Entry(sensor, "maltrail", n, b"%d" % n) for n in range(20) for sensor in SENSORS]
        await records.append(redis, mixed[:100])
        await records.append(redis, mixed[100:])
        found: list[Delivery] = []
        while batch := await consumer.read(3, NOW):
            found += batch
        for sensor in SENSORS:
            own = [delivery for delivery in found if delivery.entry.sensor == sensor]
            assert [delivery.entry.timestamp for delivery in own] == list(range(20))
            assert {delivery.stream.decode() for delivery in own} == {
                records.stream("maltrail", records.partition(sensor))
            }

    run(redis_socket, test)


def test_entry_comes_back_as_it_was_appended(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await records.create_queue(redis, "1", "pcap")
        wanted = Entry(uuid4(), "1", 2**64 - 1, bytes(range(256)) * 10)
        await records.append(redis, [wanted, wanted._replace(data=b"")])
        found = await Consumer(redis, "1", "pcap", "c").read(9, NOW)
        assert [delivery.entry for delivery in found] == [wanted, wanted._replace(data=b"")]

    run(redis_socket, test)


@pytest.mark.parametrize(
    ("data", "lines"),
    [(b"a\nb\n", [b"a", b"b"]), (b"\n\na\n\nb", [b"a", b"b"]), (b"", []), (b"\n", []), (b"a\r\n", [b"a\r"])],
)
def test_records_are_the_lines_of_an_entry(data: bytes, lines: list[bytes]) -> None:
    assert Delivery(b"d4:{7}:3", b"1-1", Entry(SENSOR, "3", 0, data)).records() == lines


def test_all_entries_are_appended_or_none(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await records.append(redis, [])
        used = (await redis.info("memory"))["used_memory"]
        await redis.config_set("maxmemory", used + 2_000_000)
        try:
            # There is room for the first of them.
            with pytest.raises(RedisError):
                await records.append(redis, entries(*["x" * 900_000] * 9))
        finally:
            await redis.config_set("maxmemory", 0)
        assert await length(redis) == 0
        await records.append(redis, entries("a", "b") + entries("c", sensor=SENSORS[0]))
        assert await length(redis) == 3

    run(redis_socket, test)


# Numbered packets.

SPOOL = Spool(SENSOR, uuid4())
OTHER_SPOOL = Spool(SENSOR, uuid4())


def packets(
    first: int, *payloads: str, spool: Spool = SPOOL, type: str = "maltrail", time: int = 7
) -> Numbered:
    return Numbered(spool, type, time, first, [payload.encode() for payload in payloads])


async def stored(redis: Redis, sensor: UUID = SENSOR, type: str = "maltrail") -> list[str]:
    """What the stream of a sensor holds."""
    found = await redis.xrange(records.stream(type, records.partition(sensor)))
    return [fields[b"data"].decode() for _, fields in found]


def test_packets_are_appended_once_however_often_they_come(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        first = [packets(1, "a\n"), packets(2, "b\n")]
        assert await records.append(redis, first) == [Progress(SPOOL, 2, 2, 0, [])]
        assert await records.append(redis, first) == [Progress(SPOOL, 2, 0, 2, [])]
        assert await records.append(redis, [packets(2, "b\n"), packets(3, "c\n")]) == [
            Progress(SPOOL, 3, 1, 1, [])
        ]
        assert await records.append(redis, [packets(4, "d\n")] * 3) == [Progress(SPOOL, 4, 1, 2, [])]
        assert await stored(redis) == ["a\n", "b\n", "c\n", "d\n"]

    run(redis_socket, test)


def test_packets_together_make_one_entry_that_is_like_any_other(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await records.create_queue(redis, "maltrail", "q")
        data = bytes(range(256))
        group = Numbered(SPOOL, "maltrail", 2**64 - 1, 1, [b"a", b"", data])
        assert await records.append(redis, [group]) == [Progress(SPOOL, 3, 1, 0, [])]
        (found,) = await Consumer(redis, "maltrail", "q", "c").read(9, NOW)
        assert found.entry == Entry(SENSOR, "maltrail", 2**64 - 1, b"a" + data)

    run(redis_socket, test)


def test_of_packets_together_those_are_appended_that_are_new(redis_socket: Path) -> None:
    """As when they were put together otherwise before, by a server that began elsewhere."""

    async def test(redis: Redis) -> None:
        await records.append(redis, [packets(1, "a", "b")])
        assert await records.append(redis, [packets(2, "b", "c", "d")]) == [Progress(SPOOL, 4, 1, 1, [])]
        assert await stored(redis) == ["ab", "cd"]

    run(redis_socket, test)


def test_empty_packets_are_counted_and_leave_no_entry(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        assert await records.append(redis, [packets(1, "")]) == [Progress(SPOOL, 1, 0, 0, [])]
        assert await stored(redis) == []

    run(redis_socket, test)


def test_a_gap_is_taken_and_told(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        found = await records.append(
            redis, [packets(3, "c"), packets(4, "d"), packets(9, "i"), packets(5, "e")]
        )
        assert found == [Progress(SPOOL, 9, 3, 1, [(1, 2), (5, 8)])]
        assert await stored(redis) == ["c", "d", "i"]

    run(redis_socket, test)


def test_who_asks_is_told_what_was_stored_before(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        question = Numbered(SPOOL, "", 0, 1, [])
        assert await records.append(redis, [question]) == [Progress(SPOOL, 0, 0, 0, [])]
        assert await redis.dbsize() == 0
        found = await records.append(redis, [packets(1, "a"), question])
        assert found == [Progress(SPOOL, 1, 1, 0, []), Progress(SPOOL, 1, 0, 0, [])]

    run(redis_socket, test)


def test_spools_and_sensors_are_counted_apart(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        elsewhere = Spool(SENSORS[3], SPOOL.id)
        mixed = [
            packets(1, "a"),
            Entry(SENSOR, "maltrail", 0, b"plain"),
            packets(1, "b", spool=OTHER_SPOOL),
            packets(1, "c", spool=elsewhere),
            packets(2, "d"),
        ]
        found = await records.append(redis, mixed)
        assert {progress.spool: progress.stored for progress in found} == {
            SPOOL: 2,
            OTHER_SPOOL: 1,
            elsewhere: 1,
        }
        assert sorted(await stored(redis)) == ["a", "b", "d", "plain"]
        assert await stored(redis, SENSORS[3]) == ["c"]

    run(redis_socket, test)


def test_high_numbers_stay_exact(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        high = 2**50
        await records.append(redis, [packets(high, "a")])
        found = await records.append(redis, [packets(high, "a"), packets(high + 1, "b")])
        assert found == [Progress(SPOOL, high + 1, 1, 1, [])]

    run(redis_socket, test)


def test_how_far_a_spool_has_come_is_forgotten_in_the_end(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await records.append(redis, [packets(1, "a")])
        key = f"d4:{{7}}:spool:{SPOOL.sensor}:{SPOOL.id}"
        assert records.SPOOL_LIFETIME == 90 * 24 * 3600
        assert records.SPOOL_LIFETIME - 5 < await redis.ttl(key) <= records.SPOOL_LIFETIME
        await redis.expire(key, 5)
        await records.append(redis, [packets(1, "a")])
        assert await redis.ttl(key) <= 5, "nothing was stored"
        await records.append(redis, [packets(2, "b")])
        assert await redis.ttl(key) > 5

    run(redis_socket, test)


@pytest.mark.parametrize("plain", [[], entries("plain")], ids=["alone", "with plain ones"])
def test_a_full_redis_takes_no_part_of_what_is_numbered(redis_socket: Path, plain: list[Entry]) -> None:
    async def test(redis: Redis) -> None:
        await records.append(redis, [packets(1, "a")])
        many = [*plain, *(packets(number, "x" * 300_000) for number in range(2, 20))]
        used = (await redis.info("memory"))["used_memory"]
        for room in (0, 1_000_000, 3_000_000):  # none, for some of what is queued, for all of what is queued
            await redis.config_set("maxmemory", used + room)
            try:
                with pytest.raises(RedisError):
                    await records.append(redis, many)
            finally:
                await redis.config_set("maxmemory", 0)
            assert await stored(redis) == ["a"]
        assert (await records.append(redis, many))[0].stored == 19
        assert len(await stored(redis)) == 19 + len(plain)

    run(redis_socket, test)


sendings = st.lists(
    st.lists(st.tuples(st.integers(0, 1), st.none() | st.integers(0, 9), st.integers(1, 4)), max_size=6),
    max_size=6,
)
"""Batches of what two connections send: which of them, how far it goes back before if it is a new one, and
how many packets make one entry."""


@given(sendings)
def test_any_order_of_two_connections_ends_with_each_number_once_and_in_order(
    redis_server: Path, sendings: list[list[tuple[int, int | None, int]]]
) -> None:
    async def test(redis: Redis) -> None:
        await redis.flushall()
        spool, reached, next = Spool(SENSOR, uuid4()), 0, [1, 1]
        for batch in sendings:
            entries = []
            for connection, back, count in batch:
                if back is not None:
                    next[connection] = max(1, reached + 1 - back)
                first = next[connection]
                next[connection] += count
                entries.append(packets(first, *(f"{first + n}\n" for n in range(count)), spool=spool))
                reached = max(reached, first + count - 1)
            found = await records.append(redis, entries)
            assert [(each.stored, each.gaps) for each in found] == [(reached, [])] * bool(batch)
        assert "".join(await stored(redis)).split() == [str(number + 1) for number in range(reached)]

    run(redis_server, test)


def test_redis_that_is_away_is_an_error_and_no_wait(tmp_path: Path) -> None:
    async def test(redis: Redis) -> None:
        with pytest.raises(RedisError):
            await records.append(redis, entries("a"))

    run(tmp_path / "nobody.sock", test)


def test_each_queue_gets_everything_even_what_came_before_it(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await records.append(redis, entries("early"))
        for name in ("one", "one", "two"):
            await records.create_queue(redis, "maltrail", name)
        await records.append(redis, entries("late") + entries("other", type="8"))
        assert await records.queues(redis) == {"one": "maltrail", "two": "maltrail"}
        for name in ("one", "two"):
            consumer = Consumer(redis, "maltrail", name, "c")
            assert texts(await consumer.read(9, NOW)) == "early late"
            assert await consumer.read(9, NOW) == []

    run(redis_socket, test)


def test_queue_keeps_its_type(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await records.create_queue(redis, "maltrail", "q")
        with pytest.raises(ValueError, match="q takes maltrail"):
            await records.create_queue(redis, "8", "q")
        assert await records.queues(redis) == {"q": "maltrail"}

    run(redis_socket, test)


def test_queue_that_is_missing_is_named(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        with pytest.raises(QueueMissing, match="nowhere"):
            await Consumer(redis, "maltrail", "nowhere", "c").read(9, NOW)
        await records.create_queue(redis, "8", "eight")
        with pytest.raises(QueueMissing, match="eight"):
            await Consumer(redis, "maltrail", "eight", "c").read(9, NOW)

    run(redis_socket, test)


@pytest.mark.parametrize("how", ["FLUSHALL", "DEL {key}", "XGROUP DESTROY {key} q"])
def test_queue_that_goes_while_a_consumer_waits_is_missing(redis_socket: Path, how: str) -> None:
    async def test(redis: Redis) -> None:
        await records.create_queue(redis, "maltrail", "q")
        consumer = Consumer(redis, "maltrail", "q", "c")
        await consumer.read(9, NOW)
        reading = asyncio.create_task(consumer.read(9, 20))
        while not (await redis.info("clients"))["blocked_clients"]:
            await asyncio.sleep(0.01)
        key = records.streams("maltrail")[3]
        await redis.execute_command(*how.format(key=key).split())
        with pytest.raises(QueueMissing):
            await reading

    run(redis_socket, test)


def test_what_is_new_ends_the_wait(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await records.create_queue(redis, "maltrail", "q")
        consumer = Consumer(redis, "maltrail", "q", "c")
        reading = asyncio.create_task(consumer.read(9, 20))
        while not (await redis.info("clients"))["blocked_clients"]:
            await asyncio.sleep(0.01)
        await records.append(redis, entries("new"))
        assert texts(await asyncio.wait_for(reading, 5)) == "new"

    run(redis_socket, test)


def test_consumer_goes_on_with_what_it_had_not_acknowledged(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await records.create_queue(redis, "maltrail", "q")
        await records.append(redis, entries("a", "b", "c", "d") + entries("z", sensor=SENSORS[0]))
        before = Consumer(redis, "maltrail", "q", "same")
        first = await before.read(9, NOW)
        await before.acknowledge([delivery for delivery in first if delivery.entry.data in (b"a", b"c")])
        await before.acknowledge([])
        await records.append(redis, entries("e"))
        again = Consumer(redis, "maltrail", "q", "same")
        assert texts(await again.read(1, NOW)) == "z b"
        assert texts(await again.read(1, NOW)) == "d"
        assert texts(await again.read(1, NOW)) == "e"
        assert await again.read(1, NOW) == []

    run(redis_socket, test)


def test_consumer_takes_what_a_dead_one_left(redis_socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(redis: Redis) -> None:
        await records.create_queue(redis, "maltrail", "q")
        await records.append(redis, entries("a", "b", "c"))
        dead = Consumer(redis, "maltrail", "q", "dead")
        assert texts(await dead.read(2, NOW)) == "a b"
        await dead.acknowledge([])
        alive = Consumer(redis, "maltrail", "q", "alive")
        assert texts(await alive.read(9, NOW)) == "c"
        assert await alive.read(9, NOW) == []
        monkeypatch.setattr(records, "CLAIM_AFTER", 0.05)
        found: list[Delivery] = []
        while len(found) < 2:
            found += [delivery for delivery in await alive.read(9, 0.02) if delivery.entry.data != b"c"]
        assert texts(found[:2]) == "a b"
        await alive.acknowledge(found)

    run(redis_socket, test)


def test_entries_that_went_while_pending_are_passed_over(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await records.create_queue(redis, "maltrail", "q")
        await records.append(redis, entries("a", "b"))
        (first, _) = await Consumer(redis, "maltrail", "q", "c").read(9, NOW)
        await redis.xdel(first.stream, first.id)
        assert texts(await Consumer(redis, "maltrail", "q", "c").read(9, NOW)) == "b"

    run(redis_socket, test)


# Trimming.


def test_trim_keeps_what_any_queue_needs_and_removes_the_rest(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        for name in ("fast", "slow"):
            await records.create_queue(redis, "maltrail", name)
        await records.append(redis, entries(*"abcdef") + entries("z", sensor=SENSORS[0]))
        fast, slow = (Consumer(redis, "maltrail", name, "c") for name in ("fast", "slow"))
        await fast.acknowledge(await fast.read(9, NOW))
        await records.trim(redis, "maltrail")
        assert await length(redis) == 7
        taken = [delivery for delivery in await slow.read(4, NOW) if delivery.entry.data != b"z"]
        assert texts(taken) == "a b c d"
        await slow.acknowledge([taken[0], taken[3]])
        await records.trim(redis, "maltrail")
        stream = taken[0].stream
        assert [fields[b"data"] for _, fields in await redis.xrange(stream)] == [b"b", b"c", b"d", b"e", b"f"]
        await slow.acknowledge(taken)
        await records.trim(redis, "maltrail")
        assert [fields[b"data"] for _, fields in await redis.xrange(stream)] == [b"e", b"f"]
        await slow.acknowledge(await Consumer(redis, "maltrail", "slow", "c").read(9, NOW))
        await slow.acknowledge(await slow.read(9, NOW))
        await records.trim(redis, "maltrail")
        assert await length(redis) == 0
        await records.append(redis, entries("g"))
        assert texts(await fast.read(9, NOW)) == texts(await slow.read(9, NOW)) == "g"

    run(redis_socket, test)


def test_trim_keeps_all_that_a_new_queue_has_not_read(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await records.create_queue(redis, "maltrail", "old")
        await records.append(redis, entries("a"))
        old = Consumer(redis, "maltrail", "old", "c")
        await old.acknowledge(await old.read(9, NOW))
        await records.create_queue(redis, "maltrail", "new")
        await records.trim(redis, "maltrail")
        assert texts(await Consumer(redis, "maltrail", "new", "c").read(9, NOW)) == "a"

    run(redis_socket, test)


def test_stream_without_a_queue_keeps_the_newest(redis_socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(redis: Redis) -> None:
        monkeypatch.setattr(records, "UNCLAIMED_ENTRIES", 100)
        await records.trim(redis, "8")
        await records.append(redis, entries(*map(str, range(1000)), type="8"))
        await records.trim(redis, "8")
        kept = await redis.xrange(records.stream("8", records.partition(SENSOR)))
        # Redis removes whole nodes of its tree, of a hundred entries each.
        assert 100 <= len(kept) <= 200
        assert kept[-1][1][b"data"] == b"999"

    run(redis_socket, test)
