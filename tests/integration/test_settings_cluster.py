"""Types, settings of queues, groups, caps and watches in a Redis Cluster: one step, one slot."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from clustering import RedisCluster
from storing import SENSOR, SENSORS, entries

from d4common import queue_settings, queues, records, redis_client
from d4common.queues import Consumer
from d4common.sender import Identity
from d4common.session import Rules
from d4server import alerts, backlogs, caps, groups, monitoring, samples, sensors, types
from d4server.backlogs import Backlogs
from d4server.caps import Caps
from d4server.statistics import Statistics
from d4server.survey import consumers, survey
from d4server.types import Types


def test_settings_live_in_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_settings, "INTERVAL", 0)
    with TemporaryDirectory(prefix="cluster-") as directory, RedisCluster(Path(directory)) as cluster:
        asyncio.run(_live(cluster))


async def _live(cluster: RedisCluster) -> None:
    redis = redis_client.connect(cluster.url)
    try:
        await _queues(redis)
        await _sensors(redis)
    finally:
        await redis_client.close(redis)


async def _queues(redis: redis_client.Redis) -> None:
    await queues.create_first_queue(redis, "maltrail", "q")
    await queue_settings.change(redis, "q", paused=1, cap_entries=20, description="what")
    await records.append(redis, [each for sensor in SENSORS for each in entries("a\n", "b\n", sensor=sensor)])
    consumer = Consumer(redis, "maltrail", "q", "c")
    assert await consumer.read(9, 0.1) == [] and consumer.held
    dropping = Backlogs()
    await dropping.enforce(redis)
    await dropping.count(redis)
    [queue] = (await survey(redis, [])).queues
    assert queue.lag == 20 and (await queue_settings.settings(redis, ["q"]))["q"].dropped == 12
    await records.append(redis, entries("c\n", sensor=SENSORS[15]))
    await groups.create(redis, "some")
    await groups.join(redis, "some", SENSORS[15])
    await groups.limit_queue(redis, "q", "some")
    await queue_settings.change(redis, "q", paused=0)
    found = []
    # What is not for the group is acknowledged as it is passed over, some of it while the next is read.
    while (queue := (await survey(redis, [])).queues[0]).lag or queue.pending != len(found) or len(found) < 3:
        found += await consumer.read(9, 0.1)
    assert [each.entry.data for each in found] == [b"a\n", b"b\n", b"c\n"]
    assert {each.entry.sensor for each in found} == {SENSORS[15]}
    await consumer.close()
    assert [each.name for each in await consumers(redis, "q")] == ["c"]
    assert {each.sensor for each in await samples.sample(redis, "q", 9)} == {SENSORS[15]}
    assert await backlogs.empty(redis, "q") == len(found)
    assert await queues.delete_queue(redis, "q") and await queues.queues(redis) == {}
    await groups.delete(redis, "some")


async def _sensors(redis: redis_client.Redis) -> None:
    copy, rules = Types(Rules(frozenset({2, 3}), frozenset())), Rules(frozenset({2, 3}), frozenset())
    await types.accept(redis, rules, "maltrail")
    assert await copy.renew(redis) and copy.rules.types == {2, 3, 254}
    await sensors.add(redis, Identity(SENSOR, b"a key of the tests"))
    await caps.set_cap(redis, SENSOR, 1)
    counted, beyond = Statistics(), Caps()
    counted.data(SENSOR, "192.0.2.1", "3", 1, b"x")
    await counted.write(redis, 90)
    await beyond.renew(redis, [SENSOR])
    with pytest.raises(Exception, match="its cap is 1"):
        beyond.check(SENSOR)
    await redis.hset(sensors.SILENCE, str(SENSORS[0]), f"60 {int(time.time()) - 70}")
    found = await monitoring.look(redis)
    assert [each.sensor for each in found] == [SENSORS[0]]
    await alerts.hand_over(redis, found, alerts.Monitoring("https://127.0.0.1:1/", None))
    with pytest.raises(alerts.Undelivered):
        await alerts.post(redis, "https://127.0.0.1:1/")
    assert await redis.llen("d4:{sensors}:alerts:webhook") == 1
    await sensors.remove(redis, SENSOR)
    assert await caps.caps(redis) == {}
