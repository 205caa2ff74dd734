"""The daemon: its sockets, its parts, and the order in which they start and stop."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from aiohttp import web

from d4common import badrequests, config, service
from d4common.config import Endpoint
from d4common.listening import names, tcp
from maltrailcollector import intake, passwords
from maltrailcollector.config import CollectorConfig
from maltrailcollector.daylog import PAUSE, DayLog
from maltrailcollector.intake import Intake
from maltrailcollector.web import Site

log = logging.getLogger(__name__)

Files = Callable[[], list[Path]]

UMASK = 0o027
STATUS_PERIOD = 10.0
"""Seconds between status lines."""

LONGEST_DRAIN = 100
"""Batches that a stop still takes from a socket; a flood does not keep the daemon from stopping."""

LONGEST_GOODBYE = 3.0
"""Seconds that a stop leaves to downloads."""


def run(settings: CollectorConfig, files: Files) -> None:
    """Runs the collector until it is asked to stop. ``files`` names what a reload reads."""
    os.umask(UMASK)
    for directory in (settings.log.log_dir, settings.web.state_dir):
        if not os.access(directory, os.W_OK | os.X_OK):
            service.end(f"{directory} must be a directory that this user can write to")
    try:
        passwords.make_first(settings.web.state_dir)
    except OSError as error:
        service.end(f"cannot write {passwords.path_of(settings.web.state_dir)}: {error.strerror}")
    udp = service.inherited_sockets("udp") or [_bound(intake.bind, settings.udp.endpoint)]
    http = tcp("web", settings.web.endpoint)
    service.run(lambda life: _serve(life, settings, files, udp, http))


async def _serve(
    life: service.Service,
    settings: CollectorConfig,
    files: Files,
    udp: list[socket.socket],
    http: list[socket.socket],
) -> None:
    daylog = DayLog(settings.log.log_dir)
    taking = Intake(daylog, settings.udp.max_age)
    loop = asyncio.get_running_loop()
    for one in udp:
        loop.add_reader(one.fileno(), taking.take, one)
    badrequests.keep_short()
    site = Site(settings.log.log_dir, settings.web.state_dir, names(udp), life.stopping)
    runner = web.AppRunner(site.application(), access_log=None)
    await runner.setup()
    for one in http:
        await web.SockSite(runner, one).start()

    def status() -> str:
        refused = "".join(f", {count} refused ({reason})" for reason, count in taking.refused.items())
        lost = sum(map(intake.kernel_drops, udp)) + daylog.lost
        return f"{taking.stored} events stored{refused}, {lost} lost"

    def reload() -> str:
        _reload(settings, files, taking)
        return status()

    life.ready(f"events on {names(udp)}, web page on {names(http)}", reload)
    tasks = [
        asyncio.create_task(_every(STATUS_PERIOD, lambda: life.status(status()))),
        asyncio.create_task(_every(PAUSE, daylog.flush)),
    ]
    await life.stopping.wait()
    for task in tasks:
        task.cancel()
    for one in udp:
        loop.remove_reader(one.fileno())
        _drain(taking, one)
    daylog.close()
    with suppress(TimeoutError):
        await asyncio.wait_for(runner.cleanup(), LONGEST_GOODBYE)
    log.info("%s", status())


def _drain(taking: Intake, udp: socket.socket) -> None:
    """Takes what arrived before the stop."""
    for _ in range(LONGEST_DRAIN):
        if not taking.take(udp):
            return


async def _every(seconds: float, do: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(seconds)
        do()


def _reload(settings: CollectorConfig, files: Files, taking: Intake) -> None:
    """Takes over what can change in a running daemon, or says what is wrong and changes nothing."""
    try:
        new = config.load(CollectorConfig, files()).value
    except config.ConfigError as error:
        for problem in error.problems:
            log.error("%s", problem)
        log.error("the configuration has errors; the one before stays in force")
        return
    taking.max_age = new.udp.max_age
    if replace(new, udp=replace(new.udp, max_age=settings.udp.max_age)) != settings:
        log.warning("other addresses, ports and directories take effect with a restart")


def _bound(bind: Callable[[Endpoint], socket.socket], endpoint: Endpoint) -> socket.socket:
    try:
        return bind(endpoint)
    except OSError as error:
        service.end(f"cannot listen on {endpoint}: {error.strerror}")
