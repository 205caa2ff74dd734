"""Records in a real Redis: order, atomicity, and what is numbered once however often it comes."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.exceptions import RedisError
from storing import NOW, SENSOR, SENSORS, entries, length, noise, run, texts

from d4common import compression, queues, records
from d4common.compression import decompress
from d4common.queues import Consumer, Delivery
from d4common.records import Entry, Numbered, Progress, Spool


def test_sensor_has_the_partition_of_its_last_byte() -> None:
    """Other servers and exporters rely on it, as on the names."""
    assert [records.partition(sensor) for sensor in SENSORS] == list(range(16))
    assert records.stream("maltrail", 7) == "d4:{7}:maltrail"
    assert records.streams("8")[15] == "d4:{15}:8" and len(records.streams("8")) == 16


def test_records_of_a_sensor_keep_their_order(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await queues.create_queue(redis, "maltrail", "q")
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
        await queues.create_queue(redis, "1", "pcap")
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


def test_chunks_are_the_bytes_of_an_entry() -> None:
    entry = Entry(SENSOR, "1", 0, b"\n\na\n\0b")
    assert Delivery(b"d4:{7}:1", b"1-1", entry).records(chunks=True) == [entry.data]


def test_all_entries_are_appended_or_none(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await records.append(redis, [])
        used = (await redis.info("memory"))["used_memory"]
        await redis.config_set("maxmemory", used + 2_000_000)
        try:
            # There is room for the first of them.
            with pytest.raises(RedisError):
                await records.append(redis, entries(*[noise(900_000)] * 9))
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
    return [decompress(fields).decode() for _, fields in found]


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
        await queues.create_queue(redis, "maltrail", "q")
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


def test_what_is_compressed_and_came_in_part_is_parted_and_nothing_doubled(redis_socket: Path) -> None:
    a, b, c, d = (letter * 2000 + "\n" for letter in "abcd")

    async def test(redis: Redis) -> None:
        await queues.create_queue(redis, "maltrail", "q")
        await records.append(redis, [packets(1, a, b)])
        found = await records.append(redis, [packets(2, b, c), *entries("plain"), packets(4, d)])
        assert found == [Progress(SPOOL, 4, 2, 1, [])]
        assert await records.append(redis, [packets(1, a, b, c, d)]) == [Progress(SPOOL, 4, 0, 4, [])]
        assert sorted(await stored(redis)) == sorted([a + b, c, d, "plain"])
        taken = await Consumer(redis, "maltrail", "q", "c").read(9, NOW)
        assert sorted(texts(taken)) == sorted(" ".join([a + b, c, d, "plain"]))

    run(redis_socket, test)


def test_lines_of_a_kind_take_less_room_than_they_have(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        key = records.stream("maltrail", records.partition(SENSOR))
        text = "".join(f"{number} {noise(20)} is one of many lines\n" for number in range(1000))
        await records.append(redis, [packets(1, text)])
        assert await redis.memory_usage(key) < len(text) / 2
        assert await stored(redis) == [text]

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
        many = [*plain, *(packets(number, noise(300_000)) for number in range(2, 20))]
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


@given(sendings, st.sampled_from(["", "." * compression.WORTH]))
def test_any_order_of_two_connections_ends_with_each_number_once_and_in_order(
    redis_server: Path, sendings: list[list[tuple[int, int | None, int]]], filling: str
) -> None:
    """Where each packet can be compressed, too."""

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
                entries.append(
                    packets(first, *(f"{first + n}{filling}\n" for n in range(count)), spool=spool)
                )
                reached = max(reached, first + count - 1)
            found = await records.append(redis, entries)
            assert [(each.stored, each.gaps) for each in found] == [(reached, [])] * bool(batch)
        found = "".join(await stored(redis)).split()
        assert found == [f"{number + 1}{filling}" for number in range(reached)]

    run(redis_server, test)


def test_redis_that_is_away_is_an_error_and_no_wait(tmp_path: Path) -> None:
    async def test(redis: Redis) -> None:
        with pytest.raises(RedisError):
            await records.append(redis, entries("a"))

    run(tmp_path / "nobody.sock", test)
