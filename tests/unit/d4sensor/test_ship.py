"""What the sensor tells of its connection, and what it needs to have one."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from uuid import uuid4

import pytest
from waiting import until

from d4common import client
from d4common.config import Endpoint
from d4sensor import ship
from d4sensor.config import D4
from d4sensor.ship import NoIdentity


@pytest.mark.parametrize("settings", [D4(), D4(uuid=uuid4()), D4(key="key")])
def test_without_an_identity_there_is_no_client(settings: D4) -> None:
    with pytest.raises(NoIdentity, match="d4-sensor identity"):
        ship.client(settings, ship.outbox(), lambda state: None)


def test_each_change_is_told_always_and_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(client, "LONGEST_PAUSE", 0.01)
    states: list[str] = []

    async def test() -> None:
        waiting = ship.outbox()
        settings = D4(Endpoint("127.0.0.1", 1), tmp_path / "ca.pem", uuid=uuid4(), key="key")
        shipping = ship.client(settings, waiting, states.append)
        running = asyncio.create_task(shipping.run())
        await until(lambda: len(states) >= 3)
        (tmp_path / "ca.pem").write_text("not PEM")
        await until(lambda: "PEM" in states[-1])
        shipping.stop()
        await running

    asyncio.run(test())
    assert len(caplog.records) == len(set(states)) == 2
    assert all(f"{tmp_path}/ca.pem" in state for state in states)
