"""Who may come in, and how long a guess takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from waiting import until

from d4common import logins, passwords
from d4common.logins import Logins, TooManyAttempts

HASHES = {"admin": passwords.hashed("correct horse")}


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Logins:
    monkeypatch.setattr(logins, "FIRST_WAIT", 0.2)
    monkeypatch.setitem(HASHES, "admin", HASHES["admin"])
    return Logins(stored)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashing that takes no time."""
    monkeypatch.setattr(passwords, "matches", lambda hash, password: password == "correct horse")


async def stored(user: str) -> str | None:
    return HASHES.get(user)


def test_the_right_password_gives_the_hash_and_all_else_nothing(door: Logins) -> None:
    async def main() -> None:
        assert await door.accept("10.0.0.1", "admin", "correct horse") == HASHES["admin"]
        assert await door.accept("10.0.0.2", "admin", "wrong") is None
        assert await door.accept("10.0.0.3", "root", "correct horse") is None
        assert await door.accept("10.0.0.4", "admin", "x" * 2000) is None
        assert await door.accept("10.0.0.5", "\ud800", "\ud800") is None

    asyncio.run(main())


def test_a_new_password_holds_at_once(door: Logins) -> None:
    async def main() -> None:
        assert await door.accept("10.0.0.1", "admin", "correct horse")
        HASHES["admin"] = passwords.hashed("other horse")
        assert await door.accept("10.0.0.2", "admin", "correct horse") is None
        assert await door.accept("10.0.0.1", "admin", "other horse")

    asyncio.run(main())


def test_each_failure_makes_the_next_attempt_of_its_neighbourhood_wait_longer(door: Logins) -> None:
    async def main() -> None:
        for host, wait in ((1, 0.0), (2, 0.2), (3, 0.4)):
            begun = time.monotonic()
            assert await door.accept(f"2001:db8::{host}", "nobody", "guess") is None
            assert time.monotonic() - begun >= wait

    asyncio.run(main())


def test_nobody_else_waits_and_the_right_password_gets_in_in_the_end(
    door: Logins, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        assert await door.accept("2001:db8::1", "admin", "guess") is None
        monkeypatch.setattr(logins, "FIRST_WAIT", 3600.0)
        late = asyncio.create_task(door.accept("2001:db8::1", "admin", "correct horse"))
        assert await door.accept("2001:db8:0:1::1", "admin", "correct horse")
        assert not late.done()
        late.cancel()
        monkeypatch.setattr(logins, "FIRST_WAIT", 0.01)
        assert await door.accept("2001:db8::1", "admin", "correct horse")
        monkeypatch.setattr(logins, "FIRST_WAIT", 3600.0)
        assert await door.accept("2001:db8::1", "admin", "correct horse")  # forgiven

    asyncio.run(main())


def test_so_many_attempts_wait_and_no_more(door: Logins) -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            guesses = [
                group.create_task(door.accept("10.0.0.1", "admin", "wrong"))
                for _ in range(logins.MOST_WAITING)
            ]
            await asyncio.sleep(0)
            with pytest.raises(TooManyAttempts):
                await door.accept("10.0.0.1", "admin", "correct horse")
            assert await door.accept("10.0.0.2", "admin", "correct horse")
            await until(lambda: guesses[0].done())
            for each in guesses:
                each.cancel()
        assert await door.accept("10.0.0.1", "admin", "correct horse")

    asyncio.run(main())


def test_who_got_in_before_does_not_wait_for_a_crowd_of_strangers(
    door: Logins, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many addresses guess at once: the user's own is behind one of them at most."""
    monkeypatch.setattr(logins, "MOST_STRANGERS", 5)
    hashed: list[str] = []

    async def aside(work: Callable[..., bool], hash: str, password: str) -> bool:
        hashed.append(password)
        await asyncio.sleep(0.01)
        return password.endswith("horse")

    monkeypatch.setattr(passwords, "aside", aside)

    async def main() -> None:
        assert await door.accept("192.0.2.1", "admin", "correct horse")
        crowd = [asyncio.create_task(door.accept(f"10.0.0.{n}", "admin", f"guess {n}")) for n in range(5)]
        await until(lambda: len(hashed) == 2)
        with pytest.raises(TooManyAttempts):
            await door.accept("10.0.0.9", "admin", "one more")
        assert await door.accept("192.0.2.1", "admin", "a second horse")
        assert hashed.index("a second horse") <= 3
        assert await asyncio.gather(*crowd) == [None] * 5
        assert await door.accept("10.0.0.9", "admin", "a third horse")

    asyncio.run(main())


def test_who_is_no_user_is_found_out_as_slowly_as_a_wrong_password(
    door: Logins, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    monkeypatch.setattr(passwords, "matches", lambda hash, password: bool(hashed.append(hash)))

    async def main() -> None:
        assert await door.accept("10.0.0.1", "admin", "wrong") is None
        assert await door.accept("10.0.0.2", "nobody", "wrong") is None
        assert hashed == [HASHES["admin"], passwords.NOBODYS]

    asyncio.run(main())


def test_a_tool_that_asks_often_costs_one_hash(door: Logins, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        assert await door.accept("10.0.0.1", "admin", "correct horse")
        monkeypatch.setattr(passwords, "matches", lambda hash, password: pytest.fail("hashed again"))
        assert await door.accept("10.0.0.1", "admin", "correct horse")

    asyncio.run(main())


def test_strangers_do_not_fill_the_memory(door: Logins, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins, "MOST_ADDRESSES", 10)
    monkeypatch.setattr(logins, "MOST_FAMILIAR", 10)

    async def main() -> None:
        for number in range(100):
            await door.accept(f"10.0.0.{number}", "nobody", "wrong")
            await door.accept(f"10.0.1.{number}", "admin", "correct horse")
        assert len(door._callers) == len(door._familiar) == 10

    asyncio.run(main())
