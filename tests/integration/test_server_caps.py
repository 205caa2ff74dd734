"""What a sensor may send in a day."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest
from conftest import Certificates
from redis.asyncio import Redis
from serving import KEY, packet
from storing import run
from waiting import until

from d4common import tls
from d4common.sender import Identity
from d4common.session import Reason, Refused, Rules
from d4server import caps, sensors, statistics
from d4server.caps import Caps
from d4server.ingest import Ingest
from d4server.statistics import Statistics
from d4server.store import Store


def test_who_has_sent_as_much_as_it_may_is_refused(
    redis_socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(redis: Redis) -> None:
        one, two, free = (uuid4() for _ in range(3))
        counted, found = Statistics(), Caps()
        for sensor in (one, two, free):
            counted.data(sensor, "192.0.2.1", "3", 1, b"x" * 600)
            counted.data(sensor, "192.0.2.1", "maltrail", 1, b"x" * 400)
        await counted.write(redis, 90)
        await caps.set_cap(redis, one, 1000)
        await caps.set_cap(redis, two, 1001)
        assert await caps.caps(redis) == {one: 1000, two: 1001}
        assert (await caps.cap_of(redis, one), await caps.cap_of(redis, free)) == (1000, None)
        await found.renew(redis, [one, two, free])
        found.check(two)
        found.check(free)
        with pytest.raises(Refused, match=r"sent 1000 bytes today \(UTC\), and its cap is 1000") as caught:
            found.check(one)
        assert caught.value.reason is Reason.CAP
        await found.renew(redis, [])
        with pytest.raises(Refused):
            found.check(one)  # although it is not connected any more
        await caps.set_cap(redis, one, 2000)
        await found.renew(redis, [])
        found.check(one)
        await caps.set_cap(redis, one, 1)
        await found.renew(redis, [one])
        monkeypatch.setattr(statistics, "_today", lambda: 1)
        await found.renew(redis, [one])
        found.check(one)  # another day
        await caps.set_cap(redis, two, None)
        await sensors.add(redis, Identity(one, b"a key of the tests"))
        await sensors.remove(redis, one)
        assert await caps.caps(redis) == {}

    run(redis_socket, test)


def test_a_server_closes_the_connections_of_whom_it_finds_beyond(
    redis_socket: Path, certificates: Certificates
) -> None:
    """In this process, since a server looks every ten seconds."""

    async def test(redis: Redis) -> None:
        uuid, other = uuid4(), uuid4()
        for sensor in (uuid, other):
            await sensors.add(redis, Identity(sensor, KEY))
        await caps.set_cap(redis, uuid, 10)
        ingest = Ingest(redis, Store(redis), Rules(frozenset({3}), frozenset()))
        trusting = tls.client_context(certificates.ca, verify=True)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            context = tls.server_context(certificates.certificate, certificates.key)
            server = await ingest.listen(listening, context)
            address = listening.getsockname()[:2]
            one, speaking = await asyncio.open_connection(*address, ssl=trusting)
            two, whispering = await asyncio.open_connection(*address, ssl=trusting)
            speaking.write(packet(uuid, 3, b"0123456789\n"))
            whispering.write(packet(other, 3, b"0123456789\n"))
            await until(lambda: ingest.sensors() == {uuid, other})
            await until(lambda: ingest.statistics.volumes()["3"].packets == 2)
            await ingest.statistics.write(redis, 90)
            await ingest.check_caps()
            assert await gone(one)
            again, writer = await asyncio.open_connection(*address, ssl=trusting)
            writer.write(packet(uuid, 3, b"more\n"))
            assert await gone(again)
            assert ingest.refused == {"cap": 2}
            assert ingest.sensors() == {other} and not two.at_eof()
            assert ingest.statistics.volumes()["3"].packets == 2, "what comes beyond is not taken"
            for each in (speaking, whispering, writer):
                each.close()
            server.close()
            await ingest.stop_reading()
            await ingest.close()

    run(redis_socket, test)


async def gone(reader: asyncio.StreamReader) -> bool:
    """Whether the server has closed."""
    with suppress(ConnectionError):
        return await reader.read() == b""
    return True
