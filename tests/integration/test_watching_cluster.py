"""Statistics, and a look at streams and queues, on a real Redis Cluster of three masters."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

import pytest
from clustering import RedisCluster
from redis.exceptions import RedisError

from d4common import queues, records, redis_client
from d4common.records import Batch, Entry
from d4server import statistics
from d4server.statistics import Statistics
from d4server.survey import survey

SENSORS = [UUID(f"ff7ba400-e76c-4053-982d-feec42bdef{last:02x}") for last in range(records.PARTITIONS)]
"""One for each partition."""


def count(counted: Statistics) -> None:
    """A packet of each sensor."""
    for sensor in SENSORS:
        counted.data(sensor, "192.0.2.1", "3", 1, b"x\n")


async def watch(cluster: RedisCluster) -> None:
    """All of it, then once more with one master away."""
    redis, counted = redis_client.connect(cluster.url), Statistics()
    count(counted)
    await counted.write(redis, 90)
    assert {day.packets for day in (await statistics.today(redis, SENSORS)).values()} == {1}
    assert (await statistics.totals(redis)).packets == 16
    assert (await statistics.last_seen(redis)).keys() == set(SENSORS)

    await queues.create_queue(redis, "3", "q")
    await Batch([Entry(sensor, "3", 7, b"x\n") for sensor in SENSORS]).append(redis)
    found = await survey(redis, ["3", "maltrail"])
    assert [(each.type, each.entries) for each in found.streams] == [("3", 16)]
    assert [(each.name, each.lag, each.pending) for each in found.queues] == [("q", 16, 0)]
    for key in records.streams("3"):
        await redis.xreadgroup("q", "me", {key: ">"})
    [queue] = (await survey(redis, ["3"])).queues
    assert (queue.lag, queue.pending, queue.consumers) == (0, 16, 1)

    away = cluster.master_of("{0}")
    there = [
        sensor for sensor in SENSORS if cluster.master_of(f"{{{records.partition(sensor)}}}") is not away
    ]
    away.daemon.stop(signal.SIGKILL)
    count(counted)
    for _ in range(3):
        with pytest.raises(RedisError):
            await counted.write(redis, 90)
    away.daemon.start()
    deadline = asyncio.get_running_loop().time() + 30
    while True:
        try:
            await counted.write(redis, 90)
            break
        except RedisError:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.1)
    days = await statistics.today(redis, SENSORS)
    assert {days[sensor].packets for sensor in there} == {2}, "nothing twice where nothing was away"
    assert {day.packets for day in days.values()} == {2}
    assert (await statistics.totals(redis)).packets == 32
    await redis_client.close(redis)


def test_everything_is_seen_on_a_cluster_and_nothing_twice_while_a_node_is_away() -> None:
    with TemporaryDirectory(prefix="cluster-") as directory, RedisCluster(Path(directory)) as cluster:
        for node in cluster.nodes:  # so that those that are left go on without the one that is away
            node.client.config_set("cluster-require-full-coverage", "no")
        asyncio.run(watch(cluster))
