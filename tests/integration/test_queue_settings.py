"""What administrators set of queues, in a real Redis: pauses, groups, caps; emptied and deleted queues."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from uuid import UUID

import pytest
from redis.asyncio import Redis
from redis.exceptions import ReadOnlyError
from storing import NOW, SENSOR, SENSORS, entries, length, noise, run, texts

from d4common import queue_settings, queues, records
from d4common.queue_settings import GROUPS, Settings, members_of
from d4common.queues import Consumer, QueueMissing
from d4server import backlogs, groups, samples
from d4server.backlogs import Backlogs
from d4server.survey import Member, consumers, survey


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Consumers look at the settings at every read."""
    monkeypatch.setattr(queue_settings, "INTERVAL", 0)


async def held(redis: Redis) -> int:
    """The entries that the one queue holds."""
    [queue] = (await survey(redis, [])).queues
    return queue.lag + queue.pending


async def enforce(redis: Redis) -> None:
    """What a server does every few seconds."""
    caps = Backlogs()
    await caps.enforce(redis)
    await caps.count(redis)


def test_settings_are_kept_and_taken_back(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await queue_settings.change(redis, "q", description="what", cap_entries=7, paused=1)
        await queue_settings.change(redis, "q", cap_bytes=1 << 40, description="")
        found = await queue_settings.settings(redis, ["q", "none"])
        assert found == {"q": Settings("", 7, 1 << 40, True, "", 0), "none": Settings()}

    run(redis_socket, test)


def test_a_paused_queue_gives_nothing_and_keeps_everything(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await queues.create_queue(redis, "maltrail", "q")
        consumer = Consumer(redis, "maltrail", "q", "c")
        await queue_settings.change(redis, "q", paused=1)
        await records.append(redis, entries("a", "b"))
        assert await consumer.read(9, NOW) == []
        assert consumer.held == "paused by an administrator"
        assert await held(redis) == 2
        await queue_settings.change(redis, "q", paused=0)
        assert texts(await consumer.read(9, NOW)) == "a b"
        assert consumer.held == ""

    run(redis_socket, test)


def test_settings_are_looked_at_only_now_and_then(
    redis_socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_settings, "INTERVAL", 60)

    async def test(redis: Redis) -> None:
        await queues.create_queue(redis, "maltrail", "q")
        consumer = Consumer(redis, "maltrail", "q", "c")
        await consumer.read(9, NOW)
        await queue_settings.change(redis, "q", paused=1)
        await records.append(redis, entries("a"))
        assert texts(await consumer.read(9, NOW)) == "a"

    run(redis_socket, test)


def test_a_consumer_begins_by_knowing_its_settings_and_then_goes_on_without(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await queues.create_queue(redis, "maltrail", "q")
        consumer = Consumer(redis, "maltrail", "q", "c")
        await redis.set(queue_settings.settings_of("q"), "no hash")
        with pytest.raises(Exception, match="WRONGTYPE"):
            await consumer.read(9, NOW)
        await redis.delete(queue_settings.settings_of("q"))
        await consumer.read(9, NOW)
        await redis.set(queue_settings.settings_of("q"), "no hash")
        await records.append(redis, entries("a"))
        assert texts(await consumer.read(9, NOW)) == "a"

    run(redis_socket, test)


# Groups.


def test_a_queue_for_a_group_gives_out_only_what_is_of_its_sensors(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await queues.create_queue(redis, "maltrail", "q")
        await groups.create(redis, "some")
        await groups.join(redis, "some", SENSORS[1])
        await groups.limit_queue(redis, "q", "some")
        await records.append(redis, entries("a") + entries("b", sensor=SENSORS[1]))
        consumer = Consumer(redis, "maltrail", "q", "c")
        [delivery] = await consumer.read(9, NOW)
        assert delivery.entry.data == b"b"
        assert await held(redis) == 1, "what is of others is acknowledged"
        await consumer.acknowledge([delivery])
        await groups.join(redis, "some", SENSOR)
        await groups.leave(redis, "some", SENSORS[1])
        await records.append(redis, entries("c") + entries("d", sensor=SENSORS[1]))
        assert texts(await consumer.read(9, NOW)) == "c"
        await groups.limit_queue(redis, "q", "")
        await records.append(redis, entries("e", sensor=SENSORS[2]))
        assert texts(await consumer.read(9, NOW)) == "e"

    run(redis_socket, test)


def test_a_queue_whose_group_is_gone_loses_nothing(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await queues.create_queue(redis, "maltrail", "q")
        await groups.create(redis, "some")
        await groups.join(redis, "some", SENSOR)
        await groups.limit_queue(redis, "q", "some")
        await redis.delete(GROUPS, members_of("some"))
        await records.append(redis, entries("a"))
        consumer = Consumer(redis, "maltrail", "q", "c")
        assert await consumer.read(9, NOW) == []
        assert "no group of sensors some" in consumer.held and await held(redis) == 1

    run(redis_socket, test)


def test_what_is_passed_over_and_not_acknowledged_comes_again(
    redis_socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(redis: Redis) -> None:
        await queues.create_queue(redis, "maltrail", "q")
        await groups.create(redis, "some")
        await groups.join(redis, "some", SENSORS[1])
        await groups.limit_queue(redis, "q", "some")
        await records.append(redis, entries("a") + entries("b", sensor=SENSORS[1]))
        consumer = Consumer(redis, "maltrail", "q", "c")
        with monkeypatch.context() as broken:

            async def fail(_: object) -> None:
                raise ReadOnlyError("in the way")

            broken.setattr(consumer, "acknowledge", fail)
            with pytest.raises(ReadOnlyError):
                await consumer.read(9, NOW)
        assert texts(await consumer.read(9, NOW)) == "b"
        assert await held(redis) == 1

    run(redis_socket, test)


# Caps.


def test_beyond_its_cap_a_queue_drops_the_oldest(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await queues.create_queue(redis, "maltrail", "q")
        await queues.create_queue(redis, "maltrail", "free")
        for number, sensor in enumerate((SENSORS[1], SENSORS[2], SENSORS[3])):
            key = records.stream("maltrail", sensor.bytes[15] % records.PARTITIONS)
            for step in range(4):
                fields = {"sensor": sensor.bytes, "time": 0, "data": b"%d" % (10 * step + number)}
                await redis.xadd(key, fields, id=f"{1000 + 10 * step + number}-0")
        await queue_settings.change(redis, "q", cap_entries=5)
        await enforce(redis)
        consumer = Consumer(redis, "maltrail", "q", "c")
        assert len(await consumer.read(9, NOW)) == 5
        assert len(await Consumer(redis, "maltrail", "free", "c").read(9, NOW)) == 12
        found = await queue_settings.settings(redis, ["q", "free"])
        assert (found["q"].dropped, found["free"].dropped) == (7, 0)
        await enforce(redis)
        assert (await queue_settings.settings(redis, ["q"]))["q"].dropped == 7
        assert not [each for each in await consumers(redis, "q") if each.name != "c"]

    run(redis_socket, test)


def test_the_oldest_of_all_streams_go_first(redis_socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlogs, "PIECE", 1)

    async def test(redis: Redis) -> None:
        await queues.create_queue(redis, "maltrail", "q")
        for at, sensor in enumerate((SENSORS[3], SENSORS[1], SENSORS[2]) * 5):
            key = records.stream("maltrail", sensor.bytes[15] % records.PARTITIONS)
            fields = {"sensor": sensor.bytes, "time": 0, "data": b"%02d" % at}
            await redis.xadd(key, fields, id=f"{1000 + at}-0")
        await queue_settings.change(redis, "q", cap_entries=4)
        await enforce(redis)
        found = await Consumer(redis, "maltrail", "q", "c").read(99, NOW)
        assert sorted(each.entry.data for each in found) == [b"11", b"12", b"13", b"14"]

    run(redis_socket, test)


def test_what_a_consumer_has_at_hand_is_left_to_it_for_a_while(
    redis_socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(redis: Redis) -> None:
        await queues.create_queue(redis, "maltrail", "q")
        await records.append(redis, entries(*"abcdefgh"))
        consumer = Consumer(redis, "maltrail", "q", "c")
        assert texts(await consumer.read(3, NOW)) == "a b c"
        await queue_settings.change(redis, "q", cap_entries=2)
        await enforce(redis)
        assert await held(redis) == 3, "which is why the cap is exceeded"
        await records.append(redis, entries("i"))
        monkeypatch.setattr(backlogs, "_IDLE", 1)
        await asyncio.sleep(0.01)
        await enforce(redis)
        assert await held(redis) == 2
        assert (await queue_settings.settings(redis, ["q"]))["q"].dropped == 7
        assert texts(await Consumer(redis, "maltrail", "q", "c").read(9, NOW)) == "c"

    run(redis_socket, test)


def test_a_cap_in_bytes_is_about_memory(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await queues.create_queue(redis, "maltrail", "q")
        await records.append(redis, entries(*[noise(4000)] * 500))
        await queue_settings.change(redis, "q", cap_bytes=1 << 20)
        await enforce(redis)
        await queues.trim(redis, "maltrail")
        [stream] = (await survey(redis, ["maltrail"])).streams
        assert 200 <= await held(redis) == stream.entries <= 262
        assert 800_000 < stream.bytes < 1_300_000

    run(redis_socket, test)


def test_a_cap_makes_room_in_a_redis_that_is_full(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await queues.create_queue(redis, "maltrail", "q")
        await queue_settings.change(redis, "q", cap_entries=100)
        await records.append(redis, entries(*[noise(4000)] * 1000))
        used = (await redis.info("memory"))["used_memory"]
        await redis.config_set("maxmemory", used - 100_000)
        try:
            with pytest.raises(Exception, match="OOM|maxmemory"):
                await records.append(redis, entries("y"))
            caps = Backlogs()
            await caps.enforce(redis)
            await queues.trim(redis, "maltrail")
            await caps.count(redis)
            await records.append(redis, entries("y"))
        finally:
            await redis.config_set("maxmemory", 0)
        assert await held(redis) == 101
        assert (await queue_settings.settings(redis, ["q"]))["q"].dropped == 900

    run(redis_socket, test)


def test_a_queue_that_is_deleted_leaves_no_count(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await queues.create_queue(redis, "maltrail", "q")
        await records.append(redis, entries("a", "b"))
        await queue_settings.change(redis, "q", cap_entries=1)
        caps = Backlogs()
        await caps.enforce(redis)
        await queues.delete_queue(redis, "q")
        await caps.count(redis)
        assert not await redis.exists(queue_settings.settings_of("q"))

    run(redis_socket, test)


def test_two_servers_do_not_drop_twice(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await queues.create_queue(redis, "maltrail", "q")
        await records.append(redis, entries(*map(str, range(3000))))
        await queue_settings.change(redis, "q", cap_entries=1000)
        await asyncio.gather(*(enforce(redis) for _ in range(4)))
        await enforce(redis)
        assert await held(redis) == 1000
        assert (await queue_settings.settings(redis, ["q"]))["q"].dropped == 2000

    run(redis_socket, test)


# Emptied, deleted, looked at.


def test_an_emptied_queue_begins_with_what_comes(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await queues.create_queue(redis, "maltrail", "q")
        await queues.create_queue(redis, "maltrail", "other")
        await records.append(redis, entries(*"abc") + entries("d", sensor=SENSORS[1]))
        await Consumer(redis, "maltrail", "q", "c").read(2, NOW)
        assert await backlogs.empty(redis, "q") == 4
        assert await backlogs.empty(redis, "q") == 0
        lag = {queue.name: queue.lag + queue.pending for queue in (await survey(redis, [])).queues}
        assert lag == {"q": 0, "other": 4}
        await records.append(redis, entries("e"))
        assert texts(await Consumer(redis, "maltrail", "q", "new").read(9, NOW)) == "e"
        with pytest.raises(KeyError):
            await backlogs.empty(redis, "none")

    run(redis_socket, test)


def test_a_deleted_queue_is_gone_from_all_partitions(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await queues.create_first_queue(redis, "maltrail", "q")
        await queue_settings.change(redis, "q", paused=1, description="x")
        await records.append(redis, entries("a"))
        assert await queues.delete_queue(redis, "q") and not await queues.delete_queue(redis, "q")
        assert await queues.queues(redis) == {}
        assert [await redis.xinfo_groups(key) for key in records.streams("maltrail")] == [[]] * 16
        assert not await redis.exists(queue_settings.settings_of("q"))
        with pytest.raises(QueueMissing):
            await Consumer(redis, "maltrail", "q", "c").read(9, NOW)
        await queues.create_first_queue(redis, "maltrail", "q")
        assert await queues.queues(redis) == {}, "it was deleted on purpose"
        await redis.flushall()
        await queues.create_first_queue(redis, "maltrail", "q")
        assert await queues.queues(redis) == {"q": "maltrail"}

    run(redis_socket, test)


def test_who_takes_from_a_queue(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await queues.create_queue(redis, "maltrail", "q")
        await records.append(redis, entries(*"ab") + entries("c", sensor=SENSORS[1]))
        await Consumer(redis, "maltrail", "q", "one").read(1, NOW)
        await Consumer(redis, "maltrail", "q", "two").read(9, NOW)
        found = await consumers(redis, "q")
        assert [each[::2] for each in found] == [("one", 2), ("two", 1)]
        assert all(isinstance(each, Member) and 0 <= each.idle < 10 for each in found)

    run(redis_socket, test)


def test_a_sample_is_the_last_records_and_takes_nothing(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await queues.create_queue(redis, "maltrail", "q")
        assert await samples.sample(redis, "q", 3) == []
        await records.append(redis, entries("a\nb\n", "c\n", "\n"))
        fields = {"sensor": SENSORS[1].bytes, "time": 0, "data": "\xe4" * 9000 + "\n"}
        await redis.xadd(records.stream("maltrail", 1), fields, id=f"{int(time.time() + 9) * 1000}-0")
        found = await samples.sample(redis, "q", 3)
        assert [(each.sensor, each.text[:5], each.size) for each in found] == [
            (SENSORS[1], "\xe4" * 5, 18000),
            (SENSOR, "c", 1),
            (SENSOR, "b", 1),
        ]
        assert len(found[0].text) == samples.MOST_BYTES // 2
        assert [each.hex for each in found] == ["", "", ""]
        assert len(await samples.sample(redis, "q", 99)) == 4
        assert await held(redis) == 4
        await groups.create(redis, "some")
        await groups.join(redis, "some", SENSORS[1])
        await groups.limit_queue(redis, "q", "some")
        assert [each.sensor for each in await samples.sample(redis, "q", 3)] == [SENSORS[1]]

    run(redis_socket, test)


def test_a_sample_of_bytes_is_text_all_the_same(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await queues.create_queue(redis, "1", "q")
        await redis.xadd(records.stream("1", 3), {"sensor": SENSORS[3].bytes, "data": b"\xd4\xc3\n\n"})
        await redis.xadd(records.stream("1", 4), {"anything": "else"})
        [found] = await samples.sample(redis, "q", 9)
        assert (found.text, found.size, found.hex) == ("\\xd4\\xc3\n\n", 4, "d4c30a0a")
        assert len(await samples.sample(redis, "q", 9, chunks=())) == 1, "as lines"
        await redis.xadd(records.stream("1", 5), {"sensor": SENSORS[5].bytes, "lz4": b"no block"})
        assert await samples.sample(redis, "q", 9) == [found]

    run(redis_socket, test)


def test_a_sample_is_of_what_was_compressed_too(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await queues.create_queue(redis, "maltrail", "q")
        await records.append(redis, entries("one line of many\n" * 100))
        [(_, fields)] = await redis.xrange(records.stream("maltrail", records.partition(SENSOR)))
        assert b"lz4" in fields
        assert [each.text for each in await samples.sample(redis, "q", 2)] == ["one line of many"] * 2
        [whole] = await samples.sample(redis, "q", 2, chunks=["maltrail"])
        assert whole.size == 1700

    run(redis_socket, test)


def test_groups_have_names_and_members(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        for name in ("b", "a"):
            await groups.create(redis, name)
        with pytest.raises(groups.Refused, match="there is a group a already"):
            await groups.create(redis, "a")
        await groups.join(redis, "a", SENSOR)
        await groups.join(redis, "b", SENSOR)
        await groups.join(redis, "b", SENSORS[0])
        assert [tuple(each) for each in await groups.groups(redis)] == [("a", 1), ("b", 2)]
        assert await groups.members(redis, "b") == [SENSORS[0], SENSOR]
        assert await groups.groups_of(redis, SENSOR) == ["a", "b"]
        assert await groups.memberships(redis) == {SENSORS[0]: ("b",), SENSOR: ("a", "b")}
        assert await groups.leave(redis, "a", SENSOR) and not await groups.leave(redis, "a", SENSOR)
        await groups.leave_all(redis, SENSOR)
        assert await groups.groups_of(redis, SENSOR) == []
        await queues.create_queue(redis, "maltrail", "q")
        await groups.limit_queue(redis, "q", "b")
        with pytest.raises(groups.Refused, match="queue q is for the sensors of b"):
            await groups.delete(redis, "b")
        await groups.limit_queue(redis, "q", "")
        await groups.delete(redis, "b")
        unknown = UUID(int=0)
        for work in (
            groups.members(redis, "b"),
            groups.join(redis, "b", unknown),
            groups.leave(redis, "b", unknown),
            groups.delete(redis, "b"),
            groups.limit_queue(redis, "q", "b"),
        ):
            with pytest.raises(groups.Refused, match="there is no group b"):
                await work
        assert await length(redis) == 0

    run(redis_socket, test)
