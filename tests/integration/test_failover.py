"""Two servers and an exporter while a master of Redis fails and a replica takes over: nothing is lost."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from socket import SOCK_DGRAM
from tempfile import TemporaryDirectory
from uuid import UUID, uuid4

import pytest
from clustering import Node, RedisCluster, RedisSentinel
from receiving import Receiver
from serving import KEY, Server
from waiting import until, wait_for

from d4common import queues, records, redis_client, tls
from d4common.client import Client
from d4common.compression import decompress
from d4common.config import Endpoint
from d4common.outbox import MemoryOutbox
from d4common.sender import Identity, Sender
from d4server import sensors
from demo.chain import PYTHON, Daemon, free_port

EVENTS = 1500
"""Of each sensor."""


class Site:
    """Two servers and an exporter with one Redis of several processes, and sensors for the servers."""

    def __init__(self, directory: Path, redis: RedisCluster | RedisSentinel) -> None:
        self.redis = redis
        self.servers: list[Server] = []
        self.uuids = [UUID(bytes=uuid4().bytes[:15] + bytes([last])) for last in range(records.PARTITIONS)]
        """One sensor for each partition."""
        for name in ("east", "west"):
            (directory / name).mkdir()
            server = Server(directory / name, Path("/nonexistent"))
            own = server.config.read_text().replace("unix:///nonexistent", f"{redis.url}\nreplicas = 1")
            server.config.write_text(own)
            self.servers.append(server)
        self.port = free_port(SOCK_DGRAM)
        path = directory / "one.conf"
        path.write_text(
            f"[redis]\nurl = {redis.url}\n[queue]\ntype = maltrail\nqueue = maltrail\n"
            f"[sink]\ndestination = 127.0.0.1:{self.port}\n"
        )
        command = [PYTHON, "-m", "d4exporter", "--config", str(path), "run", "one"]
        self.exporter = Daemon("exporter", command, directory)

    def logs(self) -> str:
        """What the daemons said."""
        return "".join([*(server.log() for server in self.servers), self.exporter.log.read_text()])

    async def stored(self) -> list[tuple[UUID, bytes]]:
        """The lines that the streams hold, with their sensors."""
        redis = redis_client.connect(self.redis.url)
        try:
            found = [await redis.xrange(key) for key in records.streams("maltrail")]
        finally:
            await redis_client.close(redis)
        return [
            (UUID(bytes=fields[b"sensor"]), line)
            for entries in found
            for _, fields in entries
            for line in decompress(fields).splitlines()
        ]

    async def send(self, fail: Callable[[], None]) -> None:
        """Each sensor sends its events to one of the servers; amid that, ``fail`` is done."""
        redis = redis_client.connect(self.redis.url)
        outboxes, clients, running = [], [], []
        for number, uuid in enumerate(self.uuids):
            await sensors.add(redis, Identity(uuid, KEY))
            server = self.servers[number % 2]
            outboxes.append(MemoryOutbox(1 << 24, 1024))
            sender = Sender(Identity(uuid, KEY), 254, {"type": "maltrail"})
            context = partial(tls.client_context, server.ca, verify=True)
            where = [Endpoint("127.0.0.1", server.port)]
            clients.append(Client(sender, outboxes[-1], where, context, lambda _: None))
            running.append(asyncio.create_task(clients[-1].run()))
        await redis_client.close(redis)
        failing = None
        for event in range(EVENTS):
            for outbox, uuid in zip(outboxes, self.uuids, strict=True):
                outbox.put(b"%s %d\n" % (str(uuid).encode(), event))
            if event == EVENTS // 4:
                await until(lambda: all(outbox.first > 1 for outbox in outboxes), 30)
                failing = asyncio.create_task(asyncio.to_thread(fail))
            if event % 10 == 0:
                await asyncio.sleep(0.02)
        assert failing is not None
        await failing
        for outbox in outboxes:
            await asyncio.wait_for(outbox.empty(), 60)
        for client in clients:
            client.stop()
        await asyncio.gather(*running)


@pytest.fixture(params=["cluster", "sentinel"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """All of it, running."""
    with TemporaryDirectory(prefix="site-") as name, ExitStack() as stack:
        directory = Path(name)
        made = RedisCluster(directory, 1) if request.param == "cluster" else RedisSentinel(directory)
        site = Site(directory, stack.enter_context(made))
        for server in site.servers:
            stack.callback(server.daemon.stop)
            server.daemon.start()
        yield site


def fail_over(redis: RedisCluster | RedisSentinel, failing: Node) -> None:
    """Kills a master, waits until another one has taken over, and starts it again."""
    before = {node.port for node in redis.nodes if node.role() == "master"}
    failing.daemon.stop(signal.SIGKILL)
    wait_for(lambda: {node.port for node in redis.nodes if node.role() == "master"} - before, 30)
    failing.daemon.start()


def test_a_master_fails_while_sensors_send(site: Site) -> None:
    failing = next(node for node in site.redis.nodes if node.role() == "master")
    receiver = Receiver(site.port)
    site.exporter.start()
    try:
        asyncio.run(keep_all(site))
        asyncio.run(site.send(partial(fail_over, site.redis, failing)))
        wanted = {
            (uuid, b"%s %d" % (str(uuid).encode(), event)) for uuid in site.uuids for event in range(EVENTS)
        }
        found = Counter(asyncio.run(site.stored()))
        assert wanted - set(found) == set(), "lost"
        assert found.total() == len(wanted), "doubled"
        wait_for(lambda: len(receiver.datagrams) >= len(wanted), 30)
        wait_for(lambda: {line for _, line in wanted} == {line.strip() for line in receiver.datagrams}, 30)
    finally:
        site.exporter.stop()
        receiver.close()
    assert not {word for word in ("Traceback", "CROSSSLOT") if word in site.logs()}
    assert "left out packets" not in site.logs(), "no gap"


async def keep_all(site: Site) -> None:
    """Another queue that nobody reads, so that nothing is trimmed."""
    redis = redis_client.connect(site.redis.url)
    await queues.create_queue(redis, "maltrail", "keep")
    await redis_client.close(redis)


def test_sensors_are_let_in_by_commands(site: Site) -> None:
    one, two = site.servers
    uuid = uuid4()
    one.command("sensors", "add", str(uuid), input=KEY)
    assert str(uuid) in two.command("sensors", "list")
    two.command("sensors", "revoke", str(uuid))
    assert "revoked" in one.command("sensors", "list")
    assert len(one.command("sensors", "token").strip()) == 32
