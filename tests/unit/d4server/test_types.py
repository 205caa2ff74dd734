"""Which types are accepted: what the configuration says, and what somebody has decided."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis.asyncio import Redis
from storing import run

from d4common.session import Reason, Refused, Rules
from d4server import types
from d4server.types import TYPES, Type, Types

CONFIGURED = Rules(frozenset({2, 3, 254}), frozenset({"maltrail"}))


@pytest.mark.parametrize(
    ("text", "name"),
    [("8", "8"), ("008", "8"), ("254", "254"), ("maltrail", "maltrail"), ("a.B-1_", "a.B-1_")],
)
def test_a_type_is_a_number_or_a_name(text: str, name: str) -> None:
    assert types.parse(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "255",
        "1000",
        "²",
        "a b",
        "a:b",
        "{a}",
        "-a",
        "a" * 65,
        "d4-session",
        "d4-ack",
        "seen",
        "appended",
    ],
)
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be "):
        types.parse(text)


def test_about_a_type_that_was_decided_on_that_counts(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        copy = Types(CONFIGURED)
        assert not await copy.renew(redis) and copy.rules == CONFIGURED
        await types.accept(redis, CONFIGURED, "8")
        await types.accept(redis, CONFIGURED, "ja3-jl")
        await types.refuse(redis, "3")
        assert await copy.renew(redis) and not await copy.renew(redis)
        assert copy.rules == Rules(frozenset({2, 8, 254}), frozenset({"maltrail", "ja3-jl"}))
        copy.configure(Rules(frozenset({3, 5}), frozenset(), frozenset({"ja3-jl"})))
        assert copy.rules == Rules(frozenset({5, 8}), frozenset({"ja3-jl"}), frozenset({"ja3-jl"}))
        assert await types.forget(redis, "3") and not await types.forget(redis, "3")
        assert await copy.renew(redis)
        assert copy.rules.types == {3, 5, 8}

    run(redis_socket, test)


def test_a_meta_type_brings_what_it_comes_by(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        only = Rules(frozenset({2, 3}), frozenset())
        await types.accept(redis, only, "maltrail")
        copy = Types(only)
        await copy.renew(redis)
        assert copy.rules == Rules(frozenset({2, 3, 254}), frozenset({"maltrail"}))
        await types.refuse(redis, "254")
        await copy.renew(redis)
        assert copy.rules.types == {2, 3}
        await types.accept(redis, only, "maltrail")
        await copy.renew(redis)
        assert copy.rules.types == {2, 3, 254}

    run(redis_socket, test)


def test_all_that_is_known_of_types(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await types.refuse(redis, "maltrail")
        await types.accept(redis, CONFIGURED, "10")
        await types.describe(redis, "3", "log lines")
        await types.describe(redis, "10", "x")
        await types.describe(redis, "10", "")
        await redis.hset(TYPES, mapping={"4": "perhaps", "other:5": "accepted"})
        assert await types.known(redis, CONFIGURED) == [
            Type("2", True, False, ""),
            Type("3", True, False, "log lines"),
            Type("10", True, True, ""),
            Type("254", True, False, ""),
            Type("maltrail", False, True, ""),
        ]

    run(redis_socket, test)


def test_what_is_refused_has_a_reason(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        copy = Types(CONFIGURED)
        for refused, type, reason in (
            ("3", "3", Reason.TYPE),
            ("maltrail", "maltrail", Reason.META_TYPE),
            ("254", "ja3-jl", Reason.TYPE),
            ("2", "ja3-jl", Reason.TYPE),
        ):
            copy.check(type)
            await types.refuse(redis, refused)
            await copy.renew(redis)
            with pytest.raises(Refused, match=f"an administrator refuses .*type {refused}$") as caught:
                copy.check(type)
            assert caught.value.reason == reason
            await types.forget(redis, refused)
            await copy.renew(redis)

    run(redis_socket, test)
