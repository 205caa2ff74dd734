"""Sessions in Redis, and what ends them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from redis.asyncio import Redis
from storing import run

from d4server import sessions, users
from d4server.actor import Actor, Role
from d4server.users import Standing

pytestmark = pytest.mark.usefixtures("cheap_hashes")


async def standing_of(redis: Redis, name: str) -> Standing:
    found = await users.standing(redis, name)
    assert found is not None
    return found


async def opened(redis: Redis, name: str = "bob", half: bool = False) -> str:
    """A session of a user, who is made if need be, and has chosen a password."""
    if await users.find(redis, name) is None:
        await users.create(redis, name, Role.OPERATOR)
        await users.set_password(redis, name, "correct horse")
    return await sessions.open(redis, name, await standing_of(redis, name), "192.0.2.1", "Firefox\n", half)


def test_a_session_is_whose_it_is_until_it_is_closed(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        token = await opened(redis)
        session = await sessions.session_of(redis, token, "192.0.2.9")
        assert session is not None
        id = sessions.id_of(token)
        assert session.actor == Actor("bob", Role.OPERATOR, "192.0.2.9", f"session {id}")
        assert session.id == id and not session.must_change
        assert await sessions.actor_of_session(redis, token, "192.0.2.9") == session.actor
        await sessions.close(redis, token)
        assert await sessions.session_of(redis, token, "192.0.2.9") is None
        await sessions.close(redis, token)

    run(redis_socket, test)


def test_nothing_in_redis_lets_in(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        token = await opened(redis)
        (key,) = [key for key in await redis.keys() if b":session:" in key]
        record = await redis.hgetall(key)
        assert token.encode() not in key and all(token.encode() not in value for value in record.values())
        for wrong in ("", sessions.id_of(token), record[b"digest"].decode(), token[:-1], "\ud800"):
            assert await sessions.session_of(redis, wrong, "192.0.2.1") is None

    run(redis_socket, test)


def test_who_must_change_the_password_is_nobody_yet(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await users.create(redis, "bob", Role.OPERATOR)
        token = await opened(redis)
        session = await sessions.session_of(redis, token, "192.0.2.1")
        assert session is not None and session.must_change
        assert await sessions.actor_of_session(redis, token, "192.0.2.1") is None

    run(redis_socket, test)


@pytest.mark.parametrize("change", ["password", "reset", "role", "disable", "enable", "delete", "again"])
def test_what_ends_all_sessions_of_a_user_and_of_nobody_else(redis_socket: Path, change: str) -> None:
    async def test(redis: Redis) -> None:
        tokens = [await opened(redis), await opened(redis)]
        others = await opened(redis, "alice")
        match change:
            case "password":
                await users.set_password(redis, "bob", "other horse")
            case "reset":
                await users.reset_password(redis, "bob")
            case "role":
                await users.set_role(redis, "bob", Role.VIEWER)
            case "disable":
                await users.disable(redis, "bob")
            case "enable":
                await users.disable(redis, "bob")
                await users.enable(redis, "bob")
            case "delete":
                await users.delete(redis, "bob")
            case "again":
                await users.delete(redis, "bob")
                await users.create(redis, "bob", Role.ADMIN)
        assert [await sessions.session_of(redis, token, "192.0.2.1") for token in tokens] == [None, None]
        assert await sessions.listed(redis, "bob") == []
        assert await sessions.session_of(redis, others, "192.0.2.1")

    run(redis_socket, test)


def test_a_session_that_was_let_in_by_a_password_before_is_none(redis_socket: Path) -> None:
    """The password was changed between the look at it and the opening."""

    async def test(redis: Redis) -> None:
        await opened(redis)
        before = await standing_of(redis, "bob")
        await users.set_password(redis, "bob", "other horse")
        token = await sessions.open(redis, "bob", before, "192.0.2.1", "")
        assert await sessions.session_of(redis, token, "192.0.2.1") is None

    run(redis_socket, test)


def test_it_ends_when_nobody_uses_it_and_after_its_time(
    redis_socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(redis: Redis) -> None:
        token = await opened(redis)
        key = sessions._record(sessions.id_of(token))
        assert sessions.IDLE - 5 < await redis.ttl(key) <= sessions.IDLE
        await redis.expire(key, 100)
        await sessions.session_of(redis, token, "192.0.2.1")
        assert await redis.ttl(key) <= 100  # so soon its use is not written down again
        used = await redis.hincrby(key, "used", -sessions.TOUCH)
        await sessions.session_of(redis, token, "192.0.2.1")
        assert await redis.ttl(key) > 100 and int(await redis.hget(key, "used")) > used
        await redis.hincrby(key, "created", 60 - sessions.LIFETIME)
        await redis.hincrby(key, "used", -sessions.TOUCH)
        await sessions.session_of(redis, token, "192.0.2.1")
        assert await redis.ttl(key) <= 60
        monkeypatch.setattr(sessions, "IDLE", 1)
        short = await opened(redis)
        while await sessions.session_of(redis, short, "192.0.2.1"):
            await asyncio.sleep(0.05)
        assert [each.id for each in await sessions.listed(redis, "bob")] == [sessions.id_of(token)]

    run(redis_socket, test)


def test_a_user_sees_where_they_are_logged_in_and_ends_it(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        one, other, others = await opened(redis), await opened(redis), await opened(redis, "alice")
        await sessions.session_of(redis, one, "2001:db8::7")
        listed = {each.id: each for each in await sessions.listed(redis, "bob")}
        assert listed.keys() == {sessions.id_of(one), sessions.id_of(other)}
        seen = listed[sessions.id_of(one)]
        assert (seen.address, seen.agent) == (
            "2001:db8::7",
            "Firefox?",
        ) and seen.last_used >= seen.created > 0
        assert not await sessions.end(redis, "bob", sessions.id_of(others))
        assert await sessions.session_of(redis, others, "192.0.2.1")
        assert await sessions.end(redis, "bob", sessions.id_of(one))
        assert not await sessions.end(redis, "bob", sessions.id_of(one))
        assert await sessions.session_of(redis, one, "192.0.2.1") is None
        assert await sessions.session_of(redis, other, "192.0.2.1")

    run(redis_socket, test)


def test_one_too_many_ends_the_oldest(redis_socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MOST", 2)

    async def test(redis: Redis) -> None:
        tokens = [await opened(redis)]
        await redis.zincrby(sessions._index("bob"), -1, sessions.id_of(tokens[0]))  # a second earlier
        tokens += [await opened(redis, half=True), await opened(redis)]
        assert await sessions.session_of(redis, tokens[0], "192.0.2.1") is None
        assert await sessions.half_of(redis, tokens[1])
        assert await sessions.session_of(redis, tokens[2], "192.0.2.1")
        assert len([key for key in await redis.keys() if b":session:" in key]) == 2

    run(redis_socket, test)


def test_half_a_session_is_good_for_the_code_alone(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        token = await opened(redis, half=True)
        assert await sessions.session_of(redis, token, "192.0.2.1") is None
        half = await sessions.half_of(redis, token)
        assert half is not None and half[0] == "bob"
        assert await redis.ttl(sessions._record(sessions.id_of(token))) <= sessions.HALF
        assert await sessions.listed(redis, "bob") == []
        await users.set_password(redis, "bob", "other horse")
        assert await sessions.half_of(redis, token) is None
        assert await sessions.half_of(redis, await opened(redis)) is None

    run(redis_socket, test)


def test_so_many_wrong_tries_end_the_session(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        token = await opened(redis)
        id = sessions.id_of(token)
        for _ in range(3 * sessions.MOST_WRONG):
            assert await sessions.may_try(redis, id)
            await sessions.was_right(redis, id)
        tries = await asyncio.gather(*(sessions.may_try(redis, id) for _ in range(20)))
        assert tries.count(True) == sessions.MOST_WRONG
        assert await sessions.session_of(redis, token, "192.0.2.1") is None
        await sessions.was_right(redis, id)
        assert not await redis.exists(sessions._record(id))

    run(redis_socket, test)


def test_forms_of_each_session_have_something_of_their_own(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        tokens = [await opened(redis), await opened(redis)]
        found = [await sessions.session_of(redis, token, "192.0.2.1") for token in tokens]
        made = {each.csrf for each in found if each}
        assert len(made) == 2 and made == {sessions.csrf_of(token) for token in tokens}
        assert not any(token in csrf or csrf in token for token in tokens for csrf in made)

    run(redis_socket, test)
