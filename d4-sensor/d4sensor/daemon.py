"""`d4-sensor run`: interfaces in, events out, until it is asked to stop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from d4common import malloc
from d4common.event import Event
from d4common.service import Service, end
from d4sensor import capture, loading, ship
from d4sensor.capture import CaptureError, Interface
from d4sensor.config import Capture, SensorConfig
from d4sensor.config import Trails as Settings
from d4sensor.engine import Engine
from d4sensor.outbox import SpoolOutbox
from d4sensor.ship import Shipping
from d4sensor.trails import TrailError, Trails
from d4sensor.watch import TrailWatch, report_problems

log = logging.getLogger(__name__)

Files = Callable[[], list[Path]]

BATCHES = 4
"""Batches read of an interface before the event loop gets its turn."""

STATUS_INTERVAL = 5.0
REOPEN_INTERVAL = 5.0
"""Seconds between attempts to open an interface that went away."""


async def run(files: Files, settings: SensorConfig, service: Service) -> None:
    """The daemon. ``files`` names what a reload reads, drop-ins that are new by then too.

    Raises NoIdentity, and SpoolError where the spool cannot be used.
    """
    engine = make_engine(settings, load_trails(settings.trails))
    trails = TrailWatch(files, settings.trails, engine)
    sender = ship.event_sender(settings.d4)
    outbox = ship.outbox(settings.spool.path / ship.EVENT_SPOOL, settings.spool, sender, settings.d4.snaplen)
    sensor = Sensor(engine, outbox, service)
    client = ship.client(settings.d4, sender, outbox, sensor.set_connection)
    shipping = Shipping(outbox, client, ended=service.stopping.set)
    async with asyncio.TaskGroup() as group:
        watching = [
            group.create_task(sensor.watch(name, settings.capture)) for name in settings.capture.interface
        ]
        telling = group.create_task(sensor.tell_status())
        keeping = group.create_task(trails.run())

        def reload() -> str:
            group.create_task(trails.reload())
            return "Reading the trails again"

        await asyncio.sleep(0)  # each has now tried to open its interface
        service.ready(f"Watching {sensor.interfaces()} for {len(engine.trails)} trails", reload)
        await service.stopping.wait()
        for task in (*watching, telling, keeping):
            task.cancel()
        await asyncio.wait((*watching, telling, keeping))  # no packet is read any more
    sensor.finish()
    await shipping.stop()
    if outbox:
        log.info("%d events wait in the spool for the next start", len(outbox))


def make_engine(settings: SensorConfig, trails: Trails) -> Engine:
    """The engine that the configuration asks for."""
    disabled = frozenset(settings.engine.disabled_heuristics)
    name, ignore = settings.capture.sensor_name(), settings.events.ignore()
    engine, burst = settings.engine, settings.events.burst
    return Engine(trails, name, disabled, ignore, engine.check_missing_host, burst)


def load_trails(settings: Settings, paths: Sequence[Path] = ()) -> Trails:
    """The trails in force, or those in ``paths``; ends the process where there are none."""
    try:
        loaded, problems = loading.load_paths(settings, paths) if paths else loading.load(settings)
    except TrailError as error:
        end(str(error))
    report_problems(problems)
    if not loaded:
        end(f"no trails in {' '.join(map(str, paths or settings.path))}: nothing to look for")
    return loaded


class Sensor:
    """What is common to all interfaces: one engine, one outbox, one status line."""

    def __init__(self, engine: Engine, outbox: SpoolOutbox, service: Service) -> None:
        self.events = 0
        """Events since the start."""
        self._engine = engine
        self._outbox = outbox
        self._service = service
        self._connection = "not connected yet"
        self._open: list[Interface] = []

    def set_connection(self, state: str) -> None:
        """Hears what became of the connection to the server."""
        self._connection = state
        self._tell()

    async def watch(self, name: str, settings: Capture) -> None:
        """Watches an interface, and waits for it to come (back) where it is not there."""
        loop = asyncio.get_running_loop()
        said = ""
        while True:
            try:
                interface = capture.open_interface(name, settings.snaplen, settings.buffer, settings.filter)
            except CaptureError as error:
                if str(error) != said:
                    log.error("%s; trying again every %.0f s", error, REOPEN_INTERVAL)
                said = str(error)
                await asyncio.sleep(REOPEN_INTERVAL)
                continue
            if said:
                log.info("interface %s is being watched", name)
            said = ""
            self._open.append(interface)
            gone: asyncio.Future[CaptureError] = loop.create_future()
            loop.add_reader(interface.fileno(), self._readable, interface, gone)
            try:
                said = str(await gone)
                log.error("%s", said)
            finally:
                loop.remove_reader(interface.fileno())
                self._open.remove(interface)
                interface.close()

    def interfaces(self) -> str:
        """The interfaces that are being watched."""
        return ", ".join(interface.name for interface in self._open) or "no interface yet"

    async def tell_status(self) -> None:
        """Keeps the status line fresh, and sends the summaries that are due while no packets come.

        Gives back, too, the memory that a burst needed.
        """
        while True:
            await asyncio.sleep(STATUS_INTERVAL)
            self._put(self._engine.due(int(time.time())))
            self._tell()
            malloc.give_back()

    def finish(self) -> None:
        """Sends what the engine held back, before a stop."""
        self._put(self._engine.finish())

    def _readable(self, interface: Interface, gone: asyncio.Future[CaptureError]) -> None:
        """Judges the packets that wait at an interface."""
        try:
            for _ in range(BATCHES):
                batch = interface.read()
                if batch is None:
                    return
                self._put(self._engine.judge(batch))
        except CaptureError as error:
            if not gone.done():
                gone.set_result(error)

    def _put(self, events: Iterable[Event]) -> None:
        for event in events:
            self.events += 1
            self._outbox.put(event.wire())

    def _tell(self) -> None:
        parts = (
            f"{self.events} events, {len(self._outbox)} waiting, {self._outbox.dropped} discarded",
            f"{self._kernel_drops()} packets dropped by the kernel",
            self._outbox.trouble,
            self._connection,
        )
        self._service.status("; ".join(filter(None, parts)))

    def _kernel_drops(self) -> int:
        """Packets for which there was no room, at all interfaces that are there."""
        dropped = 0
        for interface in self._open:
            with suppress(CaptureError):
                dropped += interface.counts().dropped
        return dropped
