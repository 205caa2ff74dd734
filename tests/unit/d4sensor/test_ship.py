"""What the sensor tells of its connection, what it needs to have one, and how a spool is sent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from spooling import opened
from waiting import until

from d4common import client
from d4common.config import Endpoint
from d4common.outbox import MemoryOutbox, Numbered
from d4common.packet import EXTENDED
from d4sensor import outbox, ship, spool
from d4sensor.config import D4, SensorConfig, Spool
from d4sensor.outbox import SpoolOutbox
from d4sensor.ship import NoIdentity, Shipping
from d4sensor.spool import Packed
from d4sensor.spoolfile import SpoolDamaged, SpoolError

LINE = b"an event\n"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SensorConfig:
    """Of a sensor whose server is not there."""
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(client, "LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(outbox, "RETRY", 0.01)
    d4 = D4((Endpoint("127.0.0.1", 1),), ca=tmp_path / "ca.pem", uuid=uuid4(), key="key")
    return SensorConfig(d4, Spool(tmp_path / "spool"))


def start(settings: SensorConfig, ended: Callable[[], None] = lambda: None) -> tuple[SpoolOutbox, Shipping]:
    """Begins to send events."""
    sender = ship.event_sender(settings.d4)
    waiting = ship.outbox(settings.spool.path / ship.EVENT_SPOOL, settings.spool, sender, settings.d4.snaplen)
    sending = ship.client(settings.d4, sender, waiting, lambda state: None)
    return waiting, Shipping(waiting, sending, ended)


def spooled(settings: SensorConfig) -> list[bytes]:
    """The payloads in the spool of events, which nobody uses any more."""
    with closing(opened(settings.spool.path / "maltrail.db")) as found:
        return [packet.payload for packet in found.read(1, 1 << 20)]


@pytest.mark.parametrize("settings", [D4(), D4(uuid=uuid4()), D4(key="key")])
def test_without_an_identity_nothing_is_signed(settings: D4) -> None:
    with pytest.raises(NoIdentity, match="d4-sensor identity"):
        ship.sender(settings, EXTENDED)


def test_each_change_is_told_always_and_logged_once(
    settings: SensorConfig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    states: list[str] = []

    async def test() -> None:
        sender = ship.event_sender(settings.d4)
        sending = ship.client(settings.d4, sender, MemoryOutbox(1000, 1000), states.append)
        running = asyncio.create_task(sending.run())
        await until(lambda: len(states) >= 3)
        settings.d4.ca.write_text("not PEM")
        await until(lambda: "PEM" in states[-1])
        sending.stop()
        await running

    asyncio.run(test())
    assert len(caplog.records) == len(set(states)) == 2
    assert all(str(settings.d4.ca) in state for state in states)


def test_what_was_put_before_the_spool_was_open_waits_in_it_after_a_stop(settings: SensorConfig) -> None:
    async def test() -> None:
        waiting, shipping = start(settings)
        waiting.put(LINE)
        await shipping.stop()

    for _ in range(2):
        asyncio.run(test())
    assert spooled(settings) == [LINE] * 2
    assert settings.spool.path.stat().st_mode & 0o777 == 0o700


def test_a_spool_of_somebody_else_is_not_touched(settings: SensorConfig) -> None:
    settings.spool.path.mkdir()
    other = settings.spool.path / "other.db"
    other.write_text("not even a spool")

    async def test() -> None:
        _, shipping = start(settings)
        await shipping.stop()

    asyncio.run(test())
    assert {path.name for path in settings.spool.path.iterdir()} == {"other.db", "maltrail.db"}
    assert other.read_text() == "not even a spool"


def test_a_spool_that_cannot_be_used_ends_it(settings: SensorConfig) -> None:
    settings.spool.path.mkdir()

    async def test() -> None:
        ended = asyncio.Event()
        waiting, shipping = start(settings, ended.set)
        waiting.put(LINE)
        await ended.wait()
        await shipping.stop()

    with (
        closing(opened(settings.spool.path / "maltrail.db")),
        pytest.raises(SpoolError, match="in use by another process"),
    ):
        asyncio.run(test())


def test_a_spool_that_turns_out_to_be_damaged_ends_it_and_what_was_put_is_kept(
    settings: SensorConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although the server, for which it would be read, is away."""
    append = spool.Spool.append

    def fail(
        self: spool.Spool, packets: Sequence[Packed], position: str | None = None, acknowledged: int = 0
    ) -> list[Numbered]:
        if packets:
            monkeypatch.setattr(spool.Spool, "append", append)
            raise SpoolDamaged("it is damaged")
        return append(self, packets, position, acknowledged)

    async def test() -> None:
        ended = asyncio.Event()
        waiting, shipping = start(settings, ended.set)
        monkeypatch.setattr(spool.Spool, "append", fail)
        waiting.put(LINE)
        await ended.wait()
        waiting.put(LINE)
        await shipping.stop()

    with pytest.raises(SpoolDamaged, match="it is damaged"):
        asyncio.run(test())
    assert spooled(settings) == [LINE * 2]


def test_a_stop_does_not_wait_for_ever_for_a_disk(
    settings: SensorConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ship, "STOP_TIME", 0.1)
    settings.spool.path.write_text("a file in the way")

    async def test() -> None:
        waiting, shipping = start(settings)
        waiting.put(LINE)
        await until(lambda: waiting.trouble)
        await shipping.stop()

    asyncio.run(test())
    assert f"{settings.spool.path} cannot be read and written now: File exists; trying again" in caplog.text
    assert "1 events could not be written to disk before the stop and are lost" in caplog.text
