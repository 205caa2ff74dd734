"""The audit trail: what it holds, in Redis and in the journal, and how it is read."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from storing import run

from d4common.journal import AUDIT
from d4server import audit
from d4server.actor import Actor, Role
from d4server.audit import DONE, REFUSED

BOB = Actor("bob", Role.ADMIN, "192.0.2.1", "session 0123456789abcdef")


def test_an_entry_says_who_did_what_from_where(redis_socket: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def test(redis: Redis) -> None:
        await audit.write(redis, BOB, "sensors.group", {"groups": ("a", "b"), "uuid": 7})
        ((entry,), total) = await audit.find(redis, DONE, "", 1, 10)
        assert total == 1 and entry.time > 1_700_000_000
        assert entry[1:5] == ("bob", "sensors.group", "192.0.2.1", "session 0123456789abcdef")
        assert json.loads(entry.values) == {"groups": "a, b", "uuid": "7"}
        assert await audit.find(redis, REFUSED, "", 1, 10) == ([], 0)
        (record,) = caplog.records
        fields = ("MESSAGE_ID", "D4_USER", "D4_ACTION", "D4_ADDRESS", "D4_REASON")
        assert [record.__dict__[name] for name in fields] == [
            AUDIT,
            *("bob", "sensors.group"),
            "192.0.2.1",
            DONE,
        ]
        assert "sensors.group done by bob from 192.0.2.1" in record.getMessage()

    run(redis_socket, test)


def test_what_was_refused_cannot_push_out_what_was_done(
    redis_socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "MOST", {DONE: 1000, REFUSED: 100})

    async def test(redis: Redis) -> None:
        await audit.write(redis, BOB, "users.create", {"name": "eve"})
        for number in range(1000):
            await audit.write(redis, BOB, "login", {"wrong": number}, REFUSED)
        assert (await audit.find(redis, DONE, "", 1, 10))[1] == 1
        entries, total = await audit.find(redis, REFUSED, "", 1, 10)
        assert 100 <= total < 300 and json.loads(entries[0].values) == {"wrong": "999"}

    run(redis_socket, test)


def test_pages_go_from_the_newest_to_the_oldest(redis_socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "BATCH", 7)

    async def test(redis: Redis) -> None:
        for number in range(25):
            await audit.write(redis, BOB, f"action.{'odd' if number % 2 else 'even'}", {"number": number})

        async def page(number: int, search: str = "") -> tuple[list[int], int]:
            found, total = await audit.find(redis, DONE, search, number, 10)
            return [int(json.loads(entry.values)["number"]) for entry in found], total

        assert await page(1) == (list(range(24, 14, -1)), 25)
        assert await page(3) == (list(range(4, -1, -1)), 25)
        assert await page(4) == ([], 25)
        assert await page(2, "ODD") == ([3, 1], 12)
        assert await page(1, '"number": "17"') == ([17], 1)
        assert await page(1, "192.0.2.2") == ([], 0)

    run(redis_socket, test)


def test_long_values_are_cut(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await audit.write(redis, BOB, "sensors.describe", {"text": "x" * 5000})
        ((entry,), _) = await audit.find(redis, DONE, "", 1, 10)
        assert json.loads(entry.values)["text"] == "x" * (audit.LONGEST_VALUE - 1) + "…"

    run(redis_socket, test)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.dictionaries(st.text(), st.text(st.characters())))
def test_any_text_is_kept_and_makes_one_line(
    redis_socket: Path, caplog: pytest.LogCaptureFixture, values: dict[str, str]
) -> None:
    caplog.set_level(logging.INFO)

    async def test(redis: Redis) -> None:
        await audit.write(redis, BOB, "sensors.describe", values)
        (entry, *_), _ = await audit.find(redis, DONE, "", 1, 10)
        assert json.loads(entry.values or "{}").keys() == values.keys()
        assert len(caplog.records[-1].getMessage().split("\n")) == 1

    run(redis_socket, test)


def test_what_redis_does_not_take_is_in_the_journal(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def test(redis: Redis) -> None:
        await audit.write(redis, BOB, "users.create", {"name": "eve"})

    run(tmp_path / "nowhere.sock", test)
    done, failed = caplog.records
    assert "users.create done by bob" in done.getMessage() and "only the journal" in failed.getMessage()
