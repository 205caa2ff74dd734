"""What a process keeps of all sensors, with a real Redis: how fresh it is, and that it asks no more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import uuid4

import pytest
from operating import with_redis
from redis.asyncio import Redis
from redis.exceptions import RedisError
from waiting import until

from d4common.sender import Identity
from d4common.service import cancel
from d4server import groups, roster, sensors
from d4server.roster import Roster

ONE, TWO = Identity(uuid4(), b"a key"), Identity(uuid4(), b"a key")


def run(path: Path, test: Callable[[Redis], Awaitable[None]]) -> None:
    with_redis(path, test)


def test_what_others_change_is_there_after_the_next_renewal(
    redis_socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roster, "RENEW_INTERVAL", 0.02)

    async def test(redis: Redis) -> None:
        kept = Roster(redis, 90)
        assert await kept.sensors() == {}
        keeping = asyncio.create_task(kept.keep())
        await sensors.add(redis, ONE)
        await until(lambda: ONE.uuid in kept._sensors)
        await cancel(keeping)

    run(redis_socket, test)


def test_until_then_nobody_asks_redis(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        kept = Roster(redis, 90)
        await kept.sensors()
        await sensors.add(redis, ONE)
        before = (await redis.info("commandstats"))["cmdstat_eval"]["calls"]
        assert await kept.sensors() == {}
        assert (await redis.info("commandstats"))["cmdstat_eval"]["calls"] == before

    run(redis_socket, test)


def test_what_was_changed_here_is_there_at_once(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        kept = Roster(redis, 90)
        await kept.sensors()
        await sensors.add(redis, ONE)
        await sensors.say(redis, ONE.uuid, name="north")
        await groups.create(redis, "gates")
        await groups.join(redis, "gates", ONE.uuid)
        kept.outdate(ONE.uuid)
        found = (await kept.sensors())[ONE.uuid]
        assert (found.name, found.state, found.groups) == ("north", "approved", ("gates",))
        await sensors.remove(redis, ONE.uuid)
        kept.outdate(ONE.uuid)
        assert await kept.sensors() == {}
        await sensors.add(redis, TWO)
        kept.outdate()
        assert list(await kept.sensors()) == [TWO.uuid]

    run(redis_socket, test)


def test_a_change_during_a_renewal_is_not_undone_by_it(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        kept = Roster(redis, 90)
        await sensors.add(redis, ONE)
        renewal = kept._renew()
        await asyncio.sleep(0)
        await sensors.say(redis, ONE.uuid, name="north")
        kept.outdate(ONE.uuid)
        await asyncio.wait({renewal})
        assert (await kept.sensors())[ONE.uuid].name == "north"

    run(redis_socket, test)


def test_without_redis_whoever_asks_sees_why(tmp_path: Path) -> None:
    async def test(redis: Redis) -> None:
        with pytest.raises(RedisError):
            await Roster(redis, 90).sensors()

    run(tmp_path / "nobody.sock", test)
