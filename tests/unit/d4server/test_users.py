"""Users in Redis, of whom one who is an admin always stays."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from storing import redis_at, run

from d4common import passwords
from d4common.journal import FIRST_PASSWORD
from d4server import users
from d4server.actor import Role
from d4server.sensors import Refused

pytestmark = pytest.mark.usefixtures("cheap_hashes")


def test_a_user_is_made_with_a_password_that_must_be_changed(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        password = await users.create(redis, "bob", Role.OPERATOR)
        (bob,) = await users.known(redis)
        assert bob == await users.find(redis, "bob")
        assert (bob.name, bob.role, bob.must_change, bob.disabled, bob.totp) == (
            *("bob", Role.OPERATOR, True, False, False),
        )
        assert bob.created > 0 and bob.last_login == 0
        hash = await users.hash_of(redis, "bob")
        assert hash and passwords.matches(hash, password)
        with pytest.raises(Refused, match="a user bob already"):
            await users.create(redis, "bob", Role.ADMIN)
        assert await users.find(redis, "alice") is None and await users.hash_of(redis, "alice") is None

    run(redis_socket, test)


def test_the_password_itself_is_nowhere(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        password = await users.create(redis, "bob", Role.VIEWER)
        record = await redis.hgetall(users.record_of("bob"))
        assert all(password.encode() not in value for value in record.values())

    run(redis_socket, test)


def test_so_many_users_and_no_more(redis_socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "MOST", 2)

    async def test(redis: Redis) -> None:
        await users.create(redis, "a", Role.VIEWER)
        await users.create(redis, "b", Role.VIEWER)
        with pytest.raises(Refused, match="no more are kept"):
            await users.create(redis, "c", Role.VIEWER)

    run(redis_socket, test)


def test_the_first_admin_is_made_once_and_said_once(
    redis_socket: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(redis: Redis) -> None:
        async with redis_at(redis_socket) as other:  # of another server process that starts at the same time
            await asyncio.gather(users.make_first(redis), users.make_first(other))
        await users.make_first(redis)
        (admin,) = await users.known(redis)
        assert (admin.name, admin.role, admin.must_change) == ("admin", Role.ADMIN, True)
        (record,) = caplog.records
        assert record.__dict__["MESSAGE_ID"] == FIRST_PASSWORD
        said = re.search(r"user admin: (\S+)", record.getMessage())
        hash = await users.hash_of(redis, "admin")
        assert said and hash and passwords.matches(hash, said[1])

    run(redis_socket, test)


def test_there_is_no_first_admin_where_there_are_users(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await users.create(redis, "bob", Role.VIEWER)
        await users.make_first(redis)
        assert [each.name for each in await users.known(redis)] == ["bob"]

    run(redis_socket, test)


def test_the_last_admin_who_can_log_in_stays_one(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        for name in ("alice", "bob"):
            await users.create(redis, name, Role.ADMIN)
        await users.disable(redis, "bob")
        for attempt in (
            users.set_role(redis, "alice", Role.OPERATOR),
            users.disable(redis, "alice"),
            users.delete(redis, "alice"),
        ):
            with pytest.raises(Refused, match="alice is the only admin who can log in"):
                await attempt
        await users.reset_password(redis, "alice")
        await users.set_role(redis, "alice", Role.ADMIN)
        await users.enable(redis, "bob")
        await users.set_role(redis, "alice", Role.VIEWER)
        with pytest.raises(Refused, match="bob is the only"):
            await users.delete(redis, "bob")
        await users.set_role(redis, "alice", Role.ADMIN)
        await users.delete(redis, "bob")
        assert [(each.name, each.role) for each in await users.known(redis)] == [("alice", Role.ADMIN)]

    run(redis_socket, test)


def test_admins_who_remove_each_other_at_once_leave_one(redis_socket: Path) -> None:
    """Each by a connection of its own, in each way there is, many times."""

    async def test(redis: Redis) -> None:
        async with redis_at(redis_socket) as other:
            for _ in range(20):
                for name in ("alice", "bob"):
                    await redis.delete(users.record_of(name), users.ALL, users.ADMINS)
                for name in ("alice", "bob"):
                    await users.create(redis, name, Role.ADMIN)
                outcomes = await asyncio.gather(
                    users.set_role(redis, "alice", Role.VIEWER),
                    users.disable(other, "bob"),
                    users.delete(other, "alice"),
                    users.delete(redis, "bob"),
                    return_exceptions=True,
                )
                assert any(isinstance(outcome, Refused) for outcome in outcomes)
                left = [each for each in await users.known(redis) if each.role is Role.ADMIN]
                assert len([each for each in left if not each.disabled]) == 1
                assert await redis.smembers(users.ADMINS) == {
                    each.name.encode() for each in left if not each.disabled
                }

    run(redis_socket, test)


def test_what_ends_sessions_changes_the_epoch_and_the_rest_does_not(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await users.create(redis, "alice", Role.ADMIN)
        await users.create(redis, "bob", Role.VIEWER)

        async def epoch() -> str:
            standing = await users.standing(redis, "bob")
            assert standing is not None
            return standing.epoch

        seen = [await epoch()]
        await users.logged_in(redis, "bob")
        assert await epoch() == seen[-1]
        for change in (
            users.set_role(redis, "bob", Role.OPERATOR),
            users.set_password(redis, "bob", "correct horse"),
            users.reset_password(redis, "bob"),
        ):
            await change
            seen.append(await epoch())
        await users.disable(redis, "bob")
        assert await users.standing(redis, "bob") is None and await users.hash_of(redis, "bob") is None
        await users.enable(redis, "bob")
        seen.append(await epoch())
        assert len(set(seen)) == len(seen)

    run(redis_socket, test)


def test_a_password_that_was_chosen_need_not_be_changed_and_a_reset_one_must(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await users.create(redis, "bob", Role.VIEWER)
        await users.set_password(redis, "bob", "correct horse")
        standing = await users.standing(redis, "bob")
        assert standing and not standing.must_change and passwords.matches(standing.hash, "correct horse")
        password = await users.reset_password(redis, "bob")
        standing = await users.standing(redis, "bob")
        assert standing and standing.must_change and passwords.matches(standing.hash, password)

    run(redis_socket, test)


def test_nothing_makes_a_user_who_is_gone(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        for attempt in (
            users.logged_in(redis, "bob"),
            users.set_password(redis, "bob", "correct horse"),
            users.enable(redis, "bob"),
            users.delete(redis, "bob"),
        ):
            with pytest.raises(Refused, match="there is no user bob"):
                await attempt
        assert await users.known(redis) == [] and not await redis.keys()

    run(redis_socket, test)


@given(st.text() | st.from_regex(users.NAME, fullmatch=True))
def test_any_text_is_a_name_or_an_error(text: str) -> None:
    try:
        name = users.parse_name(text)
    except ValueError:
        return
    assert name == users.parse_name(name.upper()) and name != users.COMMAND
    name.encode("ascii")


@pytest.mark.parametrize("text", ["root", "ROOT", "", "a b", "-a", "a" * 65, "ä", "a\n", "a:b", "a{b}"])
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        users.parse_name(text)
