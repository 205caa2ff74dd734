"""Who may come in, and how long a guess takes."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from waiting import until

from maltrailcollector import logins, passwords
from maltrailcollector.logins import Logins, TooManyAttempts


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Logins:
    monkeypatch.setattr(logins, "FIRST_WAIT", 0.2)
    passwords.store(tmp_path, "correct horse")
    return Logins(lambda: passwords.stored(tmp_path))


def test_the_right_password_gives_the_hash_and_all_else_nothing(door: Logins, tmp_path: Path) -> None:
    async def main() -> None:
        assert await door.accept("10.0.0.1", "admin", "correct horse") == passwords.stored(tmp_path)
        assert await door.accept("10.0.0.2", "admin", "wrong") is None
        assert await door.accept("10.0.0.3", "root", "correct horse") is None
        assert await door.accept("10.0.0.4", "admin", "x" * 2000) is None

    asyncio.run(main())


def test_a_new_password_holds_at_once(door: Logins, tmp_path: Path) -> None:
    async def main() -> None:
        assert await door.accept("10.0.0.1", "admin", "correct horse")
        passwords.store(tmp_path, "other horse")
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
        assert await door.accept("2001:db8::1", "nobody", "guess") is None
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


def test_a_tool_that_asks_often_costs_one_hash(door: Logins, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        assert await door.accept("10.0.0.1", "admin", "correct horse")
        monkeypatch.setattr(passwords, "matches", lambda hash, password: pytest.fail("hashed again"))
        assert await door.accept("10.0.0.1", "admin", "correct horse")

    asyncio.run(main())


def test_strangers_do_not_fill_the_memory(door: Logins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins, "MOST_ADDRESSES", 10)

    async def main() -> None:
        for number in range(100):
            await door.accept(f"10.0.0.{number}", "nobody", "wrong")
        assert len(door._callers) == 10

    asyncio.run(main())
