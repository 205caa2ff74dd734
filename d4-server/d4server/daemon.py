"""`d4-server run`: listens, stores, trims, until it is asked to stop.

One process does it all, or a keeper ([d4] workers) and workers that take the connections.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from prometheus_client import Metric

from d4common import config, metrics, redis_client, tls
from d4common.config import Endpoint
from d4common.listening import names, tcp
from d4common.service import Service, cancel
from d4server import figures, worker
from d4server.config import ServerConfig
from d4server.house import House
from d4server.worker import Worker
from d4server.workers import Workers

log = logging.getLogger(__name__)

Files = Callable[[], list[Path]]

Part = Worker | Workers | House
"""Each works, has metrics and reloads; but for the house each opens and closes, too."""

SOCKET = "d4"
"""Name of the socket that systemd holds (FileDescriptorName=)."""

STATUS_INTERVAL = 5.0
"""Seconds."""


async def run(files: Files, settings: ServerConfig, service: Service, command: Sequence[str]) -> None:
    """The daemon. ``files`` names what a reload reads, drop-ins that are new by then too.

    ``command`` is that of d4-server with the same configuration, to start workers. Raises tls.TLSError.
    """
    d4, redis = settings.d4, redis_client.connect_or_end(settings.redis)
    listening = tcp(SOCKET, d4.endpoint)
    serving: Worker | Workers
    if d4.workers == 1:
        serving = Worker(redis, settings, listening)
    else:
        worker.context(d4)  # what is wrong with it ends the start here, and not that of each worker
        serving = Workers(command, d4.workers, listening)
    where = f"Listening on {names(listening)}"
    await _serve(files, service, d4.metrics, where, serving, House(redis, settings))


async def run_worker(
    files: Files, settings: ServerConfig, service: Service, number: int, place: Path, sockets: Sequence[int]
) -> None:
    """One of several workers: its number, where its metrics are served, the sockets' descriptors."""
    listening = [socket.socket(fileno=each) for each in sockets]
    serving = Worker(redis_client.connect_or_end(settings.redis), settings, listening)
    _follow_keeper(service)
    await _serve(files, service, place, f"Worker {number} serves", serving)


async def _serve(
    files: Files,
    service: Service,
    where: Path | Endpoint | None,
    status: str,
    serving: Worker | Workers,
    *others: House,
) -> None:
    """Serves until the service is to stop, with metrics at ``where``; all parts do their work meanwhile."""
    parts: list[Part] = [serving, *others]
    async with asyncio.TaskGroup() as group:
        works = [work for part in parts for work in part.works()]
        begin = _begin(serving, service, status, partial(_reload, files, parts))
        tasks = [group.create_task(work) for work in (*works, begin, _tell_status(serving, service))]
        servers = await _serve_metrics(where, parts)
        await service.stopping.wait()
        for server in servers:
            server.close()
        await serving.close()
        await cancel(*tasks)


async def _begin(serving: Worker | Workers, service: Service, status: str, reload: Callable[[], str]) -> None:
    await serving.open()
    service.ready(status, reload)


def _reload(files: Files, parts: Iterable[Part]) -> str:
    """All parts take over what holds from now on, unless anything is wrong with it."""
    try:
        settings = config.load(ServerConfig, files()).value
        worker.context(settings.d4)  # tried before any part takes it over
        for part in parts:
            part.reload(settings)
    except (config.ConfigError, tls.TLSError, OSError) as error:
        log.error("not reloaded, the old configuration stays: %s", error)
        return "Reload failed, the old configuration is in force"
    return "Reloaded"


def _follow_keeper(service: Service) -> None:
    """Stops this worker when standard input ends, since the keeper has ended then."""
    loop, input = asyncio.get_running_loop(), sys.stdin.fileno()

    def stop() -> None:
        loop.remove_reader(input)
        if not service.stopping.is_set():
            service.stop()

    loop.add_reader(input, stop)


async def _serve_metrics(where: Path | Endpoint | None, parts: list[Part]) -> list[asyncio.Server]:
    """Metrics are worth a line in the log where they cannot be had, not a server that does not start."""
    if where is None:
        return []
    try:
        return [await metrics.serve(where, partial(_families, parts))]
    except OSError as error:
        log.warning("no metrics, cannot listen at %s: %s", where, error.strerror or error)
        return []


async def _families(parts: list[Part]) -> list[Metric]:
    return [family for part in parts for family in await part.families()]


async def _tell_status(serving: Worker | Workers, service: Service) -> None:
    while True:
        await asyncio.sleep(STATUS_INTERVAL)
        service.status(figures.summary(await serving.families()))
