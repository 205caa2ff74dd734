"""The overview, with a real Redis."""

from __future__ import annotations

from pathlib import Path

from operating import do, with_redis
from redis.asyncio import Redis

from d4common.session import Reason
from d4server.operations import Role
from d4server.operations.overview import Overview
from d4server.reasons import WORDS
from d4server.statistics import Statistics


def test_what_came_who_is_there_and_what_was_refused(redis_socket: Path) -> None:
    uuid = do(redis_socket, "sensors.add").uuid

    async def write(redis: Redis) -> None:
        statistics = Statistics()
        statistics.data(uuid, "192.0.2.7", "maltrail", 1, b"a\nb\n")
        statistics.refused("hmac", "192.0.2.7", uuid)
        statistics.refused("hmac", "192.0.2.7", None)
        statistics.refused("silent", "2001:db8::7", None)
        await statistics.write(redis, 90)

    with_redis(redis_socket, write)
    do(redis_socket, "queues.create", type="maltrail", name="mine")
    found: Overview = do(redis_socket, "overview.show", Role.VIEWER, days=3)
    assert [day.volumes.keys() for day in found.days] == [set(), set(), {"maltrail"}]
    assert found.days[-1].volumes["maltrail"].records == 2
    assert (found.connected, found.heard, found.sensors["approved"]) == (None, 1, 1)
    assert [(each.reason, each.sensors, each.strangers) for each in found.refused] == [
        ("hmac", 1, 1),
        ("silent", 0, 1),
    ]
    assert [queue.name for queue in found.queues] == ["mine"]
    assert found.memory > 0
    assert found.certificate_end is None


def test_each_reason_has_words() -> None:
    assert set(WORDS) == set(Reason)
