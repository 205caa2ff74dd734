"""Tokens of programs, and what they are good for."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from redis.asyncio import Redis
from storing import run

from d4common.logins import TooManyAttempts
from d4server import tokens, users
from d4server.actor import Actor, Role
from d4server.sensors import Refused

pytestmark = pytest.mark.usefixtures("cheap_hashes", "nobody_was_wrong")


@pytest.fixture
def nobody_was_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_wrong", tokens._Wrong())


async def made(redis: Redis, role: Role = Role.VIEWER, owner: Role = Role.OPERATOR) -> tokens.NewToken:
    """A token of bob, who is made if need be."""
    if await users.find(redis, "bob") is None:
        await users.create(redis, "alice", Role.ADMIN)
        await users.create(redis, "bob", owner)
    return await tokens.make(redis, "bob", "of a test", role, 60.0)


def test_a_token_is_its_users_with_a_role_of_its_own(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        token = await made(redis)
        assert token.token.startswith("d4_") and len(token.token) >= 46
        actor = await tokens.actor_of_token(redis, token.token, "192.0.2.1")
        assert actor == Actor("bob", Role.VIEWER, "192.0.2.1", f"token {token.id}")
        (listed,) = await tokens.listed(redis, ["alice", "bob"])
        assert listed[:4] == (token.id, "bob", "of a test", Role.VIEWER)
        assert listed.expires == token.expires == listed.created + 60
        assert listed.last_used >= listed.created

    run(redis_socket, test)


def test_nothing_in_redis_is_a_token(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        token = (await made(redis)).token
        (key,) = [key for key in await redis.keys() if b":token:" in key]
        record = await redis.hgetall(key)
        assert token.encode() not in key and all(token.encode() not in value for value in record.values())
        for wrong in ("", "d4_", record[b"digest"].decode(), token[:-1], token[3:], "\ud800"):
            assert await tokens.actor_of_token(redis, wrong, "192.0.2.1") is None

    run(redis_socket, test)


@pytest.mark.parametrize("owner", Role)
@pytest.mark.parametrize("role", Role)
def test_a_token_has_no_role_that_its_user_does_not_cover(
    redis_socket: Path, owner: Role, role: Role
) -> None:
    async def test(redis: Redis) -> None:
        if not owner.covers(role):
            with pytest.raises(Refused, match="cannot have a token"):
                await made(redis, role, owner)
            return
        token = (await made(redis, role, owner)).token
        for later in Role:
            await users.set_role(redis, "bob", later)
            actor = await tokens.actor_of_token(redis, token, "192.0.2.1")
            assert actor == (Actor("bob", role, *actor[2:]) if actor else None)
            assert (actor is not None) == later.covers(role)

    run(redis_socket, test)


def test_it_works_while_its_user_may_come_in(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        token = (await made(redis)).token
        await users.disable(redis, "bob")
        assert await tokens.actor_of_token(redis, token, "192.0.2.1") is None
        with pytest.raises(Refused, match="is disabled"):
            await made(redis)
        await users.enable(redis, "bob")
        await users.reset_password(redis, "bob")
        assert await tokens.actor_of_token(redis, token, "192.0.2.1")
        await users.delete(redis, "bob")
        assert await tokens.actor_of_token(redis, token, "192.0.2.1") is None
        await users.create(redis, "bob", Role.ADMIN)  # another one
        assert await tokens.actor_of_token(redis, token, "192.0.2.1") is None
        assert await tokens.listed(redis, ["bob"]) == []

    run(redis_socket, test)


def test_it_expires(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        token = await made(redis)
        key = tokens._record(token.id)
        assert 0 < await redis.ttl(key) <= 60
        await tokens.actor_of_token(redis, token.token, "192.0.2.1")
        assert 0 < await redis.ttl(key) <= 60
        await redis.expire(key, 0)
        assert await tokens.actor_of_token(redis, token.token, "192.0.2.1") is None
        assert await tokens.listed(redis, ["bob"]) == []

    run(redis_socket, test)


def test_it_can_be_revoked_by_whom_it_belongs_to(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        one, other = await made(redis), await made(redis)
        assert await tokens.owner_of(redis, one.id) == "bob"
        assert not await tokens.revoke(redis, "alice", one.id)
        assert await tokens.revoke(redis, "bob", one.id)
        assert not await tokens.revoke(redis, "bob", one.id)
        assert await tokens.owner_of(redis, one.id) is None
        assert await tokens.actor_of_token(redis, one.token, "192.0.2.1") is None
        assert await tokens.actor_of_token(redis, other.token, "192.0.2.1")

    run(redis_socket, test)


def test_so_many_tokens_of_a_user_and_no_more(redis_socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MOST", 2)

    async def test(redis: Redis) -> None:
        one, _ = await made(redis), await made(redis)
        with pytest.raises(Refused, match="revoke one first"):
            await made(redis)
        await redis.zadd(tokens._index("bob"), {one.id: 1})
        await redis.delete(tokens._record(one.id))  # it has expired
        await made(redis)
        assert await redis.zcard(tokens._index("bob")) == 2

    run(redis_socket, test)


def test_an_address_that_sends_many_wrong_ones_is_told_so_and_nobody_else(
    redis_socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(redis: Redis) -> None:
        token = (await made(redis)).token
        for number in range(tokens.MOST_WRONG):
            assert await tokens.actor_of_token(redis, f"guess {number}", f"2001:db8::{number:x}") is None
        with pytest.raises(TooManyAttempts):
            await tokens.actor_of_token(redis, "guess", "2001:db8::ffff")
        assert await tokens.actor_of_token(redis, token, "2001:db8::ffff")
        assert await tokens.actor_of_token(redis, "guess", "192.0.2.1") is None
        monkeypatch.setattr(tokens, "FORGET", -1.0)
        assert await tokens.actor_of_token(redis, "guess", "2001:db8::ffff") is None

    run(redis_socket, test)


def test_strangers_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MOST_ADDRESSES", 10)
    wrong = tokens._Wrong()
    for number in range(100):
        assert wrong.count(f"192.0.2.{number}") == 1
    assert len(wrong._seen) == 10


def test_its_next_use_is_written_down_after_a_while(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        token = await made(redis)
        await tokens.actor_of_token(redis, token.token, "192.0.2.1")
        used = int(time.time()) - tokens.TOUCH - 5
        await redis.hset(tokens._record(token.id), "used", used)
        await tokens.actor_of_token(redis, token.token, "192.0.2.1")
        (listed,) = await tokens.listed(redis, ["bob"])
        assert listed.last_used > used
        await redis.hset(tokens._record(token.id), "used", listed.last_used - 5)
        await tokens.actor_of_token(redis, token.token, "192.0.2.1")
        assert (await tokens.listed(redis, ["bob"]))[0].last_used == listed.last_used - 5

    run(redis_socket, test)
