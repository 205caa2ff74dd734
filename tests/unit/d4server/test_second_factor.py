"""Codes of an app, and recovery codes, at a login."""

from __future__ import annotations

import asyncio
import base64
import time
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import pytest
from redis.asyncio import Redis
from storing import run

from d4common import totp
from d4server import second_factor, users
from d4server.actor import Role
from d4server.sensors import Refused

pytestmark = pytest.mark.usefixtures("cheap_hashes", "still")


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """No step ends while a test runs."""
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)


def code_of(text: str, ahead: int = 0) -> str:
    """What the app shows ``ahead`` steps from now, of a secret as it is shown."""
    return totp.code(base64.b32decode(text), int(time.time()) // totp.STEP + ahead)


def other_than(code: str) -> str:
    return f"{(int(code) + 1) % 10**totp.DIGITS:0{totp.DIGITS}}"


async def set_up(redis: Redis) -> tuple[str, list[str]]:
    """A user bob with an app: its secret, and recovery codes. The code of now is used up."""
    await users.create(redis, "bob", Role.ADMIN)
    secret = (await second_factor.begin(redis, "bob", "D4")).secret
    codes = await second_factor.confirm(redis, "bob", code_of(secret))
    assert codes is not None
    return secret, codes


def test_an_app_counts_once_it_has_shown_a_code(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await users.create(redis, "bob", Role.ADMIN)
        with pytest.raises(Refused, match="begin again"):
            await second_factor.confirm(redis, "bob", "123456")
        first = await second_factor.begin(redis, "bob", "D4")
        begun = await second_factor.begin(redis, "bob", "D4")
        assert parse_qs(urlparse(begun.uri).query)["secret"] == [begun.secret]
        assert first.secret != begun.secret
        assert await second_factor.confirm(redis, "bob", code_of(first.secret)) is None
        standing = await users.standing(redis, "bob")
        assert standing and not standing.totp
        codes = await second_factor.confirm(redis, "bob", code_of(begun.secret))
        assert codes and len(set(codes)) == second_factor.RECOVERY_CODES
        standing = await users.standing(redis, "bob")
        assert standing and standing.totp

    run(redis_socket, test)


def test_an_app_must_be_set_up_in_time(redis_socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_factor, "ENROLMENT_TIME", -1)

    async def test(redis: Redis) -> None:
        await users.create(redis, "bob", Role.ADMIN)
        begun = await second_factor.begin(redis, "bob", "D4")
        with pytest.raises(Refused, match="ten minutes"):
            await second_factor.confirm(redis, "bob", code_of(begun.secret))

    run(redis_socket, test)


def test_a_code_is_good_once_however_many_send_it(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        secret, _ = await set_up(redis)
        assert not await second_factor.accept(redis, "bob", code_of(secret))  # that of the confirmation
        code = code_of(secret, 1)
        seen = await asyncio.gather(*(second_factor.accept(redis, "bob", code) for _ in range(5)))
        assert seen.count(True) == 1
        assert not await second_factor.accept(redis, "bob", code)
        assert not await second_factor.accept(redis, "bob", code_of(secret))  # an earlier one
        assert not await second_factor.accept(redis, "alice", code)

    run(redis_socket, test)


def test_a_recovery_code_is_good_once_however_it_is_written(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        _, codes = await set_up(redis)
        assert await second_factor.accept(redis, "bob", f" {codes[0].upper().replace('-', ' ')} ")
        assert not await second_factor.accept(redis, "bob", codes[0])
        assert await second_factor.accept(redis, "bob", codes[1])
        assert await second_factor.left(redis, "bob") == len(codes) - 2
        stored = await redis.smembers(users.recovery_codes_of("bob"))
        assert not any(code.encode() in stored for code in codes)

    run(redis_socket, test)


def test_codes_cannot_be_guessed_and_a_right_one_forgives(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        secret, codes = await set_up(redis)
        right = code_of(secret, 1)
        for _ in range(second_factor.MOST_TRIES - 1):
            assert not await second_factor.accept(redis, "bob", other_than(right))
        assert await second_factor.accept(redis, "bob", codes[0])
        for _ in range(second_factor.MOST_TRIES):
            assert not await second_factor.accept(redis, "bob", "\ud800")
        assert not await second_factor.accept(redis, "bob", right)
        assert not await second_factor.accept(redis, "bob", codes[1])
        assert 0 < await redis.ttl("d4:{admin}:codes:bob") <= second_factor.WINDOW
        await redis.delete("d4:{admin}:codes:bob")  # as it is after that time
        assert await second_factor.accept(redis, "bob", code_of(secret, 1))

    run(redis_socket, test)


def test_nothing_is_left_of_an_app_that_was_removed(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        secret, codes = await set_up(redis)
        await second_factor.remove(redis, "bob")
        assert not await second_factor.accept(redis, "bob", code_of(secret, 1))
        assert not await second_factor.accept(redis, "bob", codes[0])
        standing = await users.standing(redis, "bob")
        assert standing and not standing.totp
        assert not [name for name in await redis.hkeys(users.record_of("bob")) if name.startswith(b"totp")]
        with pytest.raises(Refused, match="no user alice"):
            await second_factor.remove(redis, "alice")

    run(redis_socket, test)


def test_nothing_is_left_of_the_app_of_a_user_who_was_deleted(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await users.create(redis, "alice", Role.ADMIN)
        _, codes = await set_up(redis)
        await users.delete(redis, "bob")
        await users.create(redis, "bob", Role.VIEWER)
        assert not await second_factor.accept(redis, "bob", codes[0])

    run(redis_socket, test)
