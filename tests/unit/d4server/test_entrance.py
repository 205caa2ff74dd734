"""Logging in, from the form's values to a session, and what the audit trail has of it."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

import pytest
from redis.asyncio import Redis
from storing import run

from d4common import logins, totp
from d4server import audit, second_factor, sessions, users
from d4server.actor import Role
from d4server.audit import DONE, REFUSED
from d4server.entrance import Entrance, Opened

pytestmark = pytest.mark.usefixtures("cheap_hashes", "quick")

HOME, AWAY = "192.0.2.1", "198.51.100.7"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures cost no time, and no step of a code ends while a test runs."""
    monkeypatch.setattr(logins, "FIRST_WAIT", 0.0)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)


async def bob(redis: Redis) -> str:
    """A user bob, and the password."""
    await users.create(redis, "bob", Role.ADMIN)
    await users.set_password(redis, "bob", "correct horse")
    return "correct horse"


async def with_app(redis: Redis) -> str:
    """Has bob use an app; a code that it will show."""
    secret = (await second_factor.begin(redis, "bob", "D4")).secret
    own, step = base64.b32decode(secret), int(time.time()) // totp.STEP
    assert await second_factor.confirm(redis, "bob", totp.code(own, step))
    return totp.code(own, step + 1)


async def trail(redis: Redis, outcome: str) -> list[tuple[str, str, dict[str, str]]]:
    """User, action and values of what is in the audit trail, the newest first."""
    found, _ = await audit.find(redis, outcome, "", 1, 100)
    return [(entry.user, entry.action, json.loads(entry.values or "{}")) for entry in found]


def test_the_right_password_opens_a_session(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        password = await users.create(redis, "bob", Role.ADMIN)
        entrance = Entrance(redis)
        opened = await entrance.log_in(HOME, "Bob", password, "Firefox")
        assert opened == Opened(opened.token if opened else "", must_change=True)
        session = await sessions.session_of(redis, opened.token, HOME)
        assert session is not None and session.must_change
        user = await users.find(redis, "bob")
        assert user and user.last_login
        assert await trail(redis, DONE) == [("bob", "login", {})]
        await entrance.log_out(opened.token)
        assert await sessions.session_of(redis, opened.token, HOME) is None

    run(redis_socket, test)


def test_who_has_changed_the_password_goes_on_in_another_session(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        entrance = Entrance(redis)
        opened = await entrance.log_in(HOME, "bob", await bob(redis), "Firefox")
        await users.set_password(redis, "bob", "other horse")
        again = await entrance.again(HOME, "bob", "Firefox")
        assert opened and await sessions.session_of(redis, opened.token, HOME) is None
        assert await sessions.session_of(redis, again.token, HOME)

    run(redis_socket, test)


@pytest.mark.parametrize(
    ("user", "password"),
    [("bob", "wrong"), ("nobody", "correct horse"), ("my password", "x"), ("\ud800", "\ud800"), ("", "")],
)
def test_all_else_opens_nothing(redis_socket: Path, user: str, password: str) -> None:
    async def test(redis: Redis) -> None:
        await bob(redis)
        assert await Entrance(redis).log_in(HOME, user, password, "Firefox") is None
        assert not [key for key in await redis.keys() if b":session" in key]

    run(redis_socket, test)


def test_who_is_disabled_opens_nothing_with_the_right_password(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await users.create(redis, "alice", Role.ADMIN)
        password = await bob(redis)
        await users.disable(redis, "bob")
        assert await Entrance(redis).log_in(HOME, "bob", password, "Firefox") is None

    run(redis_socket, test)


def test_a_failure_is_told_once_a_minute_and_never_what_was_typed(
    redis_socket: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(redis: Redis) -> None:
        await bob(redis)
        entrance = Entrance(redis)
        for guess in ("guess one", "guess two", "guess three"):
            await entrance.log_in(HOME, "bob", guess, "Firefox")
            await entrance.log_in(HOME, f"my {guess}", guess, "Firefox")
            await entrance.log_in(HOME, "secret-of-bob", guess, "Firefox")
        await entrance.log_in(AWAY, "bob", "guess four", "Firefox")
        wrong = {"wrong": "password"}
        told = [("bob", "login", wrong), ("(nobody)", "login", wrong), ("bob", "login", wrong)]
        assert await trail(redis, REFUSED) == told
        assert "guess" not in caplog.text and "secret-of-bob" not in caplog.text

    run(redis_socket, test)


def test_with_a_second_factor_the_password_opens_half(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        password = await bob(redis)
        code = await with_app(redis)
        entrance = Entrance(redis)
        half = await entrance.log_in(HOME, "bob", password, "Firefox")
        assert half and half.needs_code and await sessions.session_of(redis, half.token, HOME) is None
        user = await users.find(redis, "bob")
        assert user and not user.last_login and await trail(redis, DONE) == []
        assert await entrance.give_code(HOME, half.token, "000000", "Firefox") is None
        opened = await entrance.give_code(HOME, half.token, code, "Firefox")
        assert opened and opened.token != half.token and not opened.needs_code
        assert await sessions.session_of(redis, opened.token, HOME)
        assert await sessions.half_of(redis, half.token) is None
        assert await entrance.give_code(HOME, half.token, code, "Firefox") is None
        assert await trail(redis, DONE) == [("bob", "login", {})]
        assert await trail(redis, REFUSED) == [("bob", "login", {"wrong": "code"})]

    run(redis_socket, test)


def test_half_a_session_ends_after_some_wrong_codes(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        password = await bob(redis)
        code = await with_app(redis)
        entrance = Entrance(redis)
        half = await entrance.log_in(HOME, "bob", password, "Firefox")
        assert half is not None
        for _ in range(sessions.MOST_WRONG):
            assert await entrance.give_code(HOME, half.token, "wrong", "Firefox") is None
        assert await sessions.half_of(redis, half.token) is not None
        assert await entrance.give_code(HOME, half.token, code, "Firefox") is None
        assert await sessions.half_of(redis, half.token) is None

    run(redis_socket, test)
