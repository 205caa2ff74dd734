"""Types that are accepted and refused while d4-server runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from acknowledging import Acknowledged
from redis.asyncio import Redis
from serving import Server, at_end, closed, packet
from waiting import wait_for

from d4common import queue_settings, queues, records, redis_client
from d4common.session import Rules
from d4server import types
from d4server.config import ServerConfig

CONFIGURED: Rules = ServerConfig().d4.rules()


def decide(server: Server, work: Callable[[Redis], Awaitable[object]]) -> None:
    """Does with Redis what an administrator does."""

    async def with_redis() -> None:
        redis = redis_client.connect(f"unix://{server.redis_path}")
        await work(redis)
        await redis_client.close(redis)

    asyncio.run(with_redis())


def send(server: Server, type: int, payload: bytes, meta: bytes = b"") -> bool:
    """Whether the server takes a packet of a sensor."""
    uuid = server.sensor()
    with server.connect() as connection:
        if meta:
            connection.sendall(packet(uuid, 2, meta))
        connection.sendall(packet(uuid, type, payload))
        name = meta.decode().split('"')[3] if meta else str(type)
        wait_for(lambda: server.lines(uuid, name) or at_end(connection))
    return server.lines(uuid, name) == payload.splitlines()


META = b'{"type":"of-tests"}\n'


def test_types_are_accepted_and_refused_without_a_restart(server: Server) -> None:
    assert not send(server, 77, b"x\n") and not send(server, 254, b"x\n", META)
    decide(server, lambda redis: types.accept(redis, CONFIGURED, "77"))
    decide(server, lambda redis: types.accept(redis, CONFIGURED, "of-tests"))
    decide(server, lambda redis: types.refuse(redis, "3"))
    wait_for(lambda: send(server, 77, b"x\n"))
    assert send(server, 254, b"x\n", META) and not send(server, 3, b"x\n"), "all at the same time"
    server.daemon.stop()
    server.daemon.start()
    assert send(server, 77, b"x\n") and not send(server, 3, b"x\n"), "known before the first connection"
    decide(server, lambda redis: types.refuse(redis, "of-tests"))
    decide(server, lambda redis: types.forget(redis, "3"))
    wait_for(lambda: send(server, 3, b"x\n"))
    assert not send(server, 254, b"x\n", META)


def test_connections_of_a_refused_type_are_closed_with_the_reason(server: Server) -> None:
    lines, meta, other = server.sensor(), server.sensor(), server.sensor()
    with server.connect() as one, server.connect() as two, server.connect() as three:
        one.sendall(packet(lines, 3, b"x\n"))
        two.sendall(packet(meta, 2, b'{"type":"ja3-jl"}\n'))
        three.sendall(packet(other, 8, b"x\n"))
        wait_for(lambda: server.lines(lines, "3") and server.lines(other, "8"))
        decide(server, lambda redis: types.refuse(redis, "3"))
        decide(server, lambda redis: types.refuse(redis, "ja3-jl"))
        assert closed(one) and closed(two)
        wait_for(
            lambda: f"refused sensor {lines} at 127.0.0.1: an administrator refuses type 3" in server.log()
        )
        wait_for(lambda: f"{meta} at 127.0.0.1: an administrator refuses meta type ja3-jl" in server.log())
        three.sendall(packet(other, 8, b"y\n"))
        wait_for(lambda: server.lines(other, "8") == [b"x", b"y"])


def test_a_session_that_begins_its_data_after_the_refusal_is_closed(server: Server) -> None:
    """It was let in by the rules of its beginning."""
    uuid = server.sensor()
    with Acknowledged(server.port, server.ca, uuid) as session:
        session.announce(1)
        assert session.answer() == 0
        decide(server, lambda redis: types.refuse(redis, "3"))
        wait_for(lambda: not send(server, 3, b"x\n"))
        session.send(b"x\n")
        wait_for(
            lambda: f"refused sensor {uuid} at 127.0.0.1: an administrator refuses type 3" in server.log()
        )
    assert server.lines(uuid, "3") == []


def test_the_house_is_kept_of_refused_types_too(server: Server) -> None:
    """What is beyond a queue's cap is dropped, and what no queue needs is freed."""
    decide(server, lambda redis: types.accept(redis, CONFIGURED, "77"))
    wait_for(lambda: send(server, 77, b"x\n"))
    assert send(server, 77, b"x\n") and send(server, 77, b"x\n")
    decide(server, lambda redis: types.refuse(redis, "77"))
    decide(server, lambda redis: queue_settings.change(redis, "q", cap_entries=1))
    decide(server, lambda redis: queues.create_queue(redis, "77", "q"))
    keys = records.streams("77")
    wait_for(lambda: sum(server.redis.xlen(key) for key in keys) == 1, 20)
    wait_for(lambda: server.redis.hget(queue_settings.settings_of("q"), "dropped") == b"2")
    assert "the analyzer queue q is beyond its cap: its oldest 2 entries were dropped" in server.log()
