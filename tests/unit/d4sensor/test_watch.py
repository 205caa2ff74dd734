"""New trails take the place of the old ones, of which nothing stays in memory."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from d4common import config
from d4sensor import loading, update
from d4sensor.config import SensorConfig
from d4sensor.engine import Engine
from d4sensor.watch import TrailWatch


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Python's garbage collector does not run by itself."""
    gc.disable()
    yield
    gc.enable()


def test_reload_gives_up_the_old_trails(tmp_path: Path, no_collector: None) -> None:
    """Each holds a file of many MB mapped."""
    names = tmp_path / "names.txt"
    main = tmp_path / "sensor.conf"
    main.write_text(f"[trails]\npath = {names}\ncompiled = {tmp_path}/trails.mdb\n")
    settings = config.load(SensorConfig, [main]).value.trails
    names.write_text("evil.tld\n")
    update.update(settings, offline=True)
    engine = Engine(loading.load(settings)[0], "sensor")
    old = weakref.ref(engine.trails)
    watch = TrailWatch(lambda: [main], settings, engine)
    names.write_text("evil.tld\nbad.tld\n")
    update.update(settings, offline=True)
    asyncio.run(watch.reload())
    assert len(engine.trails) == 2
    assert old() is None
