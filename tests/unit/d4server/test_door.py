"""Connections as they are accepted."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import Callable

import pytest

from d4server import door
from d4server.door import Door


async def accepted(
    listening: socket.socket, connect: Callable[[], socket.socket], number: int = 1, at_once: int = 100
) -> list[tuple[socket.socket, str]]:
    """What a door gives out while clients connect."""
    given: asyncio.Queue[tuple[socket.socket, str]] = asyncio.Queue()
    opened = Door(listening, lambda connection, address: given.put_nowait((connection, address)), at_once)
    opened.open()
    clients = [connect() for _ in range(number)]
    found = [await asyncio.wait_for(given.get(), 10) for _ in clients]
    opened.close()
    for client in clients:
        client.close()
    return found


def test_an_ipv4_address_is_one_on_a_socket_of_ipv6_too() -> None:
    listening = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    port = listening.getsockname()[1]
    for host, address in (("127.0.0.1", "127.0.0.1"), ("::1", "::1")):
        again = socket.fromfd(listening.fileno(), listening.family, listening.type)
        ((connection, found),) = asyncio.run(
            accepted(again, lambda host=host: socket.create_connection((host, port)))
        )
        assert found == address and not connection.getblocking()
        connection.close()
    listening.close()


def test_more_than_it_takes_at_once_are_taken() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    address = listening.getsockname()
    for connection, _ in asyncio.run(accepted(listening, lambda: socket.create_connection(address), 9, 2)):
        connection.close()


def test_it_goes_on_when_files_are_to_be_had_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(door, "PAUSE", 0.05)
    listening = socket.create_server(("127.0.0.1", 0))
    address = listening.getsockname()

    async def test() -> None:
        given: asyncio.Queue[socket.socket] = asyncio.Queue()
        opened = Door(listening, lambda connection, _: given.put_nowait(connection))
        opened.open()
        client = socket.create_connection(address)
        lowest = os.dup(client.fileno())
        os.close(lowest)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
        try:
            while not caplog.text:
                await asyncio.sleep(0.01)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        (await asyncio.wait_for(given.get(), 10)).close()
        opened.close()
        client.close()

    asyncio.run(test())
    assert "cannot accept connections, trying again: Too many open files" in caplog.text
