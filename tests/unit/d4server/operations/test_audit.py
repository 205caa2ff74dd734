"""What the audit trail has of operations, and how it is read, with a real Redis."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from operating import do
from redis import Redis
from storing import redis_at

from d4server.config import ServerConfig
from d4server.operations import Actor, Context, Failed, Forbidden, Invalid, Role, perform

pytestmark = pytest.mark.usefixtures("cheap_hashes")

UUID = "d43e5a4b-6a1f-4c5e-9d3b-0f2a7c1e8b90"
EVE = Actor("eve", Role.VIEWER, "192.0.2.6", "session 0123456789abcdef")


def as_eve(socket: Path, name: str, /, **values: Any) -> Any:
    async def done() -> Any:
        async with redis_at(socket) as redis:
            return await perform(Context(redis, ServerConfig(), EVE), name, values)

    return asyncio.run(done())


def test_changes_are_there_and_what_only_looks_is_not(redis_socket: Path) -> None:
    do(redis_socket, "users.create", name="alice", role="admin")
    do(redis_socket, "users.create", name="bob")
    do(redis_socket, "users.list")
    do(redis_socket, "users.set_role", name="bob", role="operator")
    page = do(redis_socket, "audit.list")
    assert [(each.action, json.loads(each.values)) for each in page.items] == [
        ("users.set_role", {"name": "bob", "role": "operator"}),
        ("users.create", {"name": "bob", "role": "viewer"}),
        ("users.create", {"name": "alice", "role": "admin"}),
    ]
    assert (page.total, page.page, page.size) == (3, 1, 50)
    assert do(redis_socket, "audit.list", search="alice").total == 1
    assert do(redis_socket, "audit.list", outcome="refused").total == 0


def test_what_failed_is_not_said_to_be_done(redis_socket: Path) -> None:
    do(redis_socket, "users.create", name="alice", role="admin")
    with pytest.raises(Failed):
        do(redis_socket, "users.delete", name="alice")
    with pytest.raises(Invalid):
        do(redis_socket, "users.create", name="a b")
    assert do(redis_socket, "audit.list").total == 1


def test_what_a_role_does_not_allow_is_there_as_refused(redis_socket: Path) -> None:
    with pytest.raises(Forbidden):
        as_eve(redis_socket, "users.create", name="mallory", role="admin")
    with pytest.raises(Forbidden):
        as_eve(redis_socket, "audit.list")
    with pytest.raises(Forbidden):
        as_eve(redis_socket, "tokens.create", name="script", role="viewer", user="alice")
    others, listed, tried = do(redis_socket, "audit.list", outcome="refused").items
    assert tried[1:] == ("eve", "users.create", "192.0.2.6", "session 0123456789abcdef", "")
    assert listed.action == "audit.list"
    assert others.action == "tokens.create" and json.loads(others.values)["user"] == "alice"


def test_nothing_secret_is_in_it_nor_in_the_journal(
    redis_socket: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    do(redis_socket, "sensors.add", uuid=UUID, key="the key of a sensor")
    password = do(redis_socket, "users.create", name="bob", role="admin").password
    token = do(redis_socket, "tokens.create", user="bob", name="script", role="admin").token
    with Redis(unix_socket_path=str(redis_socket)) as client:
        trail = str(client.xrange("d4:{admin}:audit"))
    assert "script" in trail and "bob" in caplog.text
    for secret in ("the key of a sensor", password, token):
        assert secret not in trail and secret not in caplog.text
