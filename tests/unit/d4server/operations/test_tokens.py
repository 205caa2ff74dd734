"""Operations about tokens, with a real Redis."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from operating import do
from storing import redis_at

from d4server import tokens
from d4server.config import ServerConfig
from d4server.operations import Actor, Context, Failed, Forbidden, Invalid, Missing, Role, perform

pytestmark = pytest.mark.usefixtures("cheap_hashes")

ROOT = Actor("root", Role.ADMIN, "local", "command")
ALICE = Actor("alice", Role.ADMIN, "192.0.2.1", "session 0")
BOB = Actor("bob", Role.OPERATOR, "192.0.2.2", "session 1")


@pytest.fixture
def people(redis_socket: Path) -> Path:
    """The socket of a Redis with the users alice and bob."""
    do(redis_socket, "users.create", name="alice", role="admin")
    do(redis_socket, "users.create", name="bob", role="operator")
    return redis_socket


def as_(actor: Actor, socket: Path, verb: str, **values: Any) -> Any:
    async def done() -> Any:
        async with redis_at(socket) as redis:
            return await perform(Context(redis, ServerConfig(), actor), f"tokens.{verb}", values)

    return asyncio.run(done())


def actor_of(socket: Path, token: str) -> Actor | None:
    async def found() -> Actor | None:
        async with redis_at(socket) as redis:
            return await tokens.actor_of_token(redis, token, "192.0.2.9")

    return asyncio.run(found())


def test_a_token_is_made_and_works(people: Path) -> None:
    made = as_(BOB, people, "create", name="a script", role="viewer", valid="1h")
    assert actor_of(people, made.token) == Actor("bob", Role.VIEWER, "192.0.2.9", f"token {made.id}")
    (listed,) = as_(BOB, people, "list").items
    assert (listed.id, listed.name, listed.expires - listed.created) == (made.id, "a script", 3600)


def test_everybody_sees_and_revokes_their_own_and_admins_all(people: Path) -> None:
    own = as_(BOB, people, "create", name="one", role="viewer")
    other = as_(ALICE, people, "create", name="two", role="registrar")
    assert [each.id for each in as_(BOB, people, "list").items] == [own.id]
    assert {each.id for each in as_(ALICE, people, "list").items} == {own.id, other.id}
    assert [each.id for each in as_(ROOT, people, "list", search="BOB").items] == [own.id]
    with pytest.raises(Missing):
        as_(BOB, people, "revoke", id=other.id)
    assert actor_of(people, other.token)
    as_(BOB, people, "revoke", id=own.id)
    as_(ALICE, people, "revoke", id=other.id)
    for gone in (own, other):
        assert actor_of(people, gone.token) is None
        with pytest.raises(Missing):
            as_(ALICE, people, "revoke", id=gone.id)


def test_a_token_for_somebody_else_is_made_by_admins(people: Path) -> None:
    made = as_(ROOT, people, "create", name="rollout", role="registrar", user="Bob")
    found = actor_of(people, made.token)
    assert found and (found.name, found.role) == ("bob", Role.REGISTRAR)
    with pytest.raises(Forbidden):
        as_(BOB, people, "create", name="x", role="viewer", user="alice")
    with pytest.raises(Failed, match="say for which user"):
        as_(ROOT, people, "create", name="x", role="viewer")
    with pytest.raises(Failed, match="no user carol"):
        as_(ROOT, people, "create", name="x", role="viewer", user="carol")


def test_nobody_gets_more_by_a_token(people: Path) -> None:
    with pytest.raises(Failed, match="bob is operator and cannot have a token that is admin"):
        as_(BOB, people, "create", name="x", role="admin")
    by_token = [Actor("alice", role, "192.0.2.1", "token 0") for role in (Role.VIEWER, Role.OPERATOR)]
    for actor in (*by_token, BOB._replace(means="token 0")):
        with pytest.raises(Forbidden, match="by a token"):
            as_(actor, people, "create", name="x", role="viewer")
        assert all(each.user == actor.name for each in as_(actor, people, "list").items)
    made = as_(ALICE._replace(means="token 0"), people, "create", name="x", role="admin")
    assert actor_of(people, made.token)


def test_what_cannot_be_is_said_by_field(people: Path) -> None:
    with pytest.raises(Invalid) as error:
        as_(BOB, people, "create", name="", role="root", valid="never", user="a b")
    assert error.value.problems.keys() == {"name", "role", "valid", "user"}
