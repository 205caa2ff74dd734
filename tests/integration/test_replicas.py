"""A real Redis and its replica: what counts as stored."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID, uuid4

import pytest
from clustering import Node
from operating import SETTINGS
from redis.asyncio import Redis
from waiting import wait_for

from d4common import records, redis_client
from d4common.compression import decompress
from d4common.records import Batch, Entry, NotReplicated, Numbered, Spool
from d4server import sensors
from d4server.config import ServerRedis
from d4server.operations import Actor, Context, Failed, Role, perform

SENSOR = UUID("ff7ba400-e76c-4053-982d-feec42bdef07")
STREAM = "d4:{7}:maltrail"


@pytest.fixture
def nodes() -> Iterator[list[Node]]:
    """A master and its replica, which is in step with it."""
    with TemporaryDirectory(prefix="replicas-") as name:
        master = Node(Path(name) / "master")
        replica = Node(Path(name) / "replica", "--replicaof", f"127.0.0.1 {master.port}")
        for node in (master, replica):
            node.daemon.start()
        wait_for(lambda: master.client.execute_command("WAIT", 1, 100))
        yield [master, replica]
        for node in (master, replica):
            node.client.close()
            node.daemon.stop(signal.SIGKILL)


def test_nothing_counts_as_stored_that_the_replica_has_not(nodes: list[Node]) -> None:
    """Nor after a further try, which has nothing left to append."""
    master, replica = nodes
    process = replica.daemon.process
    assert process is not None
    spool = Spool(SENSOR, uuid4())
    packets = [Numbered(spool, "maltrail", 0, 1, [b"one"]), Numbered(spool, "maltrail", 0, 2, [b"two"])]

    async def test(redis: Redis) -> None:
        batches = [Batch(packets, 1), Batch([Entry(SENSOR, "maltrail", 0, b"plain")], 1)]
        process.send_signal(signal.SIGSTOP)
        try:
            for batch in [*batches, *batches]:
                with pytest.raises(NotReplicated, match="fewer than 1 replicas"):
                    await batch.append(redis)
        finally:
            process.send_signal(signal.SIGCONT)
        progress, nothing = [await batch.append(redis) for batch in batches]
        assert nothing == []
        assert progress == [records.Progress(spool, 2, 2, 0, [])]

    async def connected() -> None:
        redis = redis_client.connect(f"redis://127.0.0.1:{master.port}/0")
        await test(redis)
        await redis_client.close(redis)

    asyncio.run(connected())
    wanted = [b"one", b"two", b"plain"]
    for node in nodes:
        assert [decompress(fields) for _, fields in node.client.xrange(STREAM)] == wanted, "each once"


def test_a_replica_that_has_it_makes_no_difference_to_who_asks_for_none(nodes: list[Node]) -> None:
    async def connected() -> None:
        redis = redis_client.connect(f"redis://127.0.0.1:{nodes[0].port}")
        await records.append(redis, [Entry(SENSOR, "maltrail", 0, b"plain")])
        await redis_client.close(redis)

    asyncio.run(connected())
    assert nodes[0].client.info("commandstats").get("cmdstat_wait", {}).get("calls", 0) <= 2
    assert nodes[0].client.info("commandstats")["cmdstat_exec"]["calls"] == 1, "one transaction"


def test_a_sensor_s_key_is_told_when_the_replica_has_it(nodes: list[Node]) -> None:
    master, replica = nodes
    process = replica.daemon.process
    assert process is not None

    async def connected() -> None:
        redis = redis_client.connect(f"redis://127.0.0.1:{master.port}")
        process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(Failed, match="fewer than 1 replicas .* do it again when they are back"):
                await add(redis)
        finally:
            process.send_signal(signal.SIGCONT)
        await add(redis)
        await redis_client.close(redis)

    async def add(redis: Redis) -> None:
        settings = replace(SETTINGS, redis=ServerRedis(replicas=1))
        context = Context(redis, settings, Actor("somebody", Role.ADMIN, "192.0.2.1", "session"))
        await perform(context, "sensors.add", {"uuid": str(SENSOR), "key": b"a key of the tests"})

    asyncio.run(connected())
    assert replica.client.hget(sensors.record_of(SENSOR), "key") == b"a key of the tests"
