"""What a keeper does with workers that do not behave; here they are scripts."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop
from waiting import until

from d4server import workers
from d4server.config import ServerConfig
from d4server.workers import Workers

SCRIPT = """
import os, pathlib, signal, socket, sys, time

kind, place = sys.argv[1], pathlib.Path(sys.argv[2])
signal.signal(signal.SIGHUP, lambda *_: (place / "reloaded").touch())
if kind == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
(place / "started").write_text(str(os.getpid()))
while kind == "late" and not (place / "go").exists():
    time.sleep(0.01)
if kind != "mute":
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.sendto(b"READY=1\\nSTATUS=Here", os.environ["NOTIFY_SOCKET"])
while True:
    time.sleep(60)
"""


def script(kind: str, place: Path) -> list[str]:
    """The command of such a worker."""
    return [sys.executable, "-c", SCRIPT, kind, str(place)]


def keep(command: list[str], test: Callable[[Workers], Awaitable[None]]) -> None:
    """Runs a test with one worker, and stops it."""

    async def run() -> None:
        kept = Workers(command, 1, [])
        [keeping] = map(asyncio.ensure_future, kept.works())
        await test(kept)
        await kept.close()
        await keeping

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


def runs(place: Path) -> bool:
    """Whether the last process that has started is there."""
    return os.path.exists(f"/proc/{(place / 'started').read_text()}")


def test_one_that_is_not_ready_reloads_once_it_is(tmp_path: Path) -> None:
    async def test(kept: Workers) -> None:
        await until((tmp_path / "started").exists)
        kept.reload(ServerConfig())
        (tmp_path / "go").touch()
        await kept.open()
        await until((tmp_path / "reloaded").exists)

    keep(script("late", tmp_path), test)


def test_one_that_does_not_stop_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(workers, "STOP_TIME", 0.2)
    keep(script("stubborn", tmp_path), lambda kept: kept.open())
    assert "worker 1 did not stop" in caplog.text
    assert not runs(tmp_path)


def test_one_that_does_not_become_ready_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(workers, "START_TIME", 0.5)
    monkeypatch.setattr(workers, "PAUSE", 0.01)

    async def test(kept: Workers) -> None:
        await until(lambda: caplog.text.count("worker 1 ended by SIGABRT; starting another") == 2)

    keep(script("mute", tmp_path), test)


def test_what_cannot_be_started_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(workers, "PAUSE", 0.01)

    async def test(kept: Workers) -> None:
        await until(lambda: caplog.text.count("worker 1 cannot be started: No such file") == 2)

    keep(["/nonexistent"], test)
