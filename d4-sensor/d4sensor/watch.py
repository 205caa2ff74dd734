"""Keeps the trails of a running sensor at what its files hold."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from d4common import config
from d4sensor import loading
from d4sensor.config import SensorConfig
from d4sensor.config import Trails as Settings
from d4sensor.engine import Engine
from d4sensor.sources import Problem
from d4sensor.trails import TrailError

log = logging.getLogger(__name__)

INTERVAL = 2.0
"""Seconds between looks at the compiled file."""


class TrailWatch:
    """Gives an engine new trails: when the compiled file is another, and when a reload is asked for.

    ``settings`` are those by which the engine's trails were loaded, ``files`` name what a reload reads.
    """

    def __init__(self, files: Callable[[], list[Path]], settings: Settings, engine: Engine) -> None:
        self._files = files
        self._settings = settings
        self._engine = engine
        self._version = loading.version(settings)

    async def run(self) -> None:
        """Watches, for ever."""
        await self._compile()
        while True:
            await asyncio.sleep(INTERVAL)
            if loading.version(self._settings) not in (self._version, (0, 0)):
                await self._load()

    async def reload(self) -> None:
        """Reads the configuration and the trails again; the old trails stay where that fails."""
        try:
            settings = config.load(SensorConfig, self._files()).value
        except config.ConfigError as error:
            log.error("not reloaded, the old trails stay: %s", error)
            return
        self._settings = settings.trails
        self._engine.ignore = settings.events.ignore()
        await self._compile()
        await self._load()

    async def _load(self) -> None:
        """Takes the trails that are in force now, beside the capture; the old ones stay if there are none."""
        self._version = loading.version(self._settings)
        try:
            loaded, problems = await asyncio.to_thread(loading.load, self._settings)
        except TrailError as error:
            log.error("not reloaded, the old trails stay: %s", error)
            return
        report_problems(problems)
        if not loaded:
            paths = " ".join(map(str, self._settings.path))
            log.error("not reloaded, the old trails stay: there are none in %s", paths)
            return
        self._engine.trails = loaded
        gc.collect()  # the old ones are part of cycles, and hold their file mapped
        log.info("watching for %d trails", len(loaded))

    async def _compile(self) -> None:
        """Compiles again, in a process of its own, if a file has changed since; without any network."""
        if not await asyncio.to_thread(loading.is_stale, self._settings):
            return
        log.info("trails have changed, or another version has compiled them: compiling them again")
        options = sys.argv[1 : sys.argv.index("run")] if "run" in sys.argv else []
        command = [sys.executable, "-m", "d4sensor", *options, "update", "--offline"]
        try:
            process = await asyncio.create_subprocess_exec(*command)
        except OSError as error:
            log.error("the trails cannot be compiled again, the old ones stay: %s", error.strerror)
            return
        try:
            status = await process.wait()
        except asyncio.CancelledError:
            process.terminate()
            raise
        if status:
            log.error("the trails could not be compiled again, the old ones stay")


def report_problems(problems: list[Problem]) -> None:
    """Says which lines hold no trail: the first few, and how many more."""
    for problem in problems[:10]:
        log.warning("not a trail: %s", problem)
    if problems[10:]:
        log.warning("… and %d lines more", len(problems) - 10)
