"""`d4-server run`: listens, stores, trims, until it is asked to stop."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from redis.exceptions import RedisError

from d4common import config, metrics, queues, redis_client, tls
from d4common.config import Endpoint
from d4common.enrolling import ALPN_ENROLL
from d4common.listening import names, tcp
from d4common.service import Service, cancel
from d4server import client_certificates
from d4server.backlogs import Backlogs
from d4server.config import ServerConfig
from d4server.door import Door
from d4server.enrolment import Enrolment
from d4server.figures import Figures
from d4server.ingest import Ingest
from d4server.statistics import Statistics
from d4server.store import Store
from d4server.types import Types

log = logging.getLogger(__name__)

Files = Callable[[], list[Path]]

SOCKET = "d4"
"""Name of the socket that systemd holds (FileDescriptorName=)."""

FIRST_QUEUE = "maltrail"
"""The analyzer queue that exists from the start, and the meta type that it takes."""

HOUSEKEEPING_INTERVAL = 5.0
STATUS_INTERVAL = 5.0
STATISTICS_INTERVAL = 10.0
"""Seconds."""

FIRST_LOOK_TIME = 2.0
"""Seconds that a start waits for Redis to say which types are accepted."""

LAST_WRITE_TIME = 5.0
"""Seconds that a stop waits for Redis to take the last statistics."""


async def run(files: Files, settings: ServerConfig, service: Service) -> None:
    """The daemon. ``files`` names what a reload reads, drop-ins that are new by then too."""
    redis = redis_client.connect_or_end(settings.redis)
    store = Store(redis, settings.redis.replicas)
    enrolment = Enrolment(redis, settings.d4)
    d4, others = settings.d4, {ALPN_ENROLL: enrolment.serve}
    ingest = Ingest(redis, store, d4.rules(), others, d4.client_certificates)
    ingest.limits, ingest.shared_secret = settings.limits, d4.secret()
    client_ca = d4.client_ca if d4.client_certificates else None
    context = tls.server_context(d4.certificate, d4.key_file(), ingest.alpn, client_ca)
    context.sslobject_class = client_certificates.Handshake
    figures = Figures(redis, d4, ingest, store, enrolment)
    await _look_first(ingest)
    listening = tcp(SOCKET, d4.endpoint)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(work)
            for work in (
                store.run(),
                ingest.keep_alive(),
                ingest.check_keys(),
                ingest.check_blacklist(),
                ingest.check_types(),
                _keep_house(redis, ingest.types),
                _tell_status(ingest, store, service),
                _write_statistics(ingest, redis, d4.statistics_days),
                figures.keep_looking(),
            )
        ]
        servers: list[Door | asyncio.Server] = [await ingest.listen(each, context) for each in listening]
        servers += await _serve_metrics(d4.metrics, figures)
        reload = partial(_reload, files, context, ingest, enrolment, figures)
        service.ready(f"Listening on {names(listening)}", reload)
        await service.stopping.wait()
        for server in servers:
            server.close()
        await ingest.stop_reading()
        await store.flushed()
        await ingest.close()
        await _write_last_statistics(ingest.statistics, redis, d4.statistics_days)
        await cancel(*tasks)


def _reload(
    files: Files, context: ssl.SSLContext, ingest: Ingest, enrolment: Enrolment, figures: Figures
) -> str:
    """What holds for connections to come: certificate, rules, enrolment. The rest needs a restart."""
    try:
        settings = config.load(ServerConfig, files()).value
        d4 = settings.d4
        # A context forgets its certificate before it looks at another, so that one is tried elsewhere first.
        tls.server_context(d4.certificate, d4.key_file())
        context.load_cert_chain(d4.certificate, d4.key_file())
    except (config.ConfigError, tls.TLSError, OSError) as error:
        log.error("not reloaded, the old configuration stays: %s", error)
        return "Reload failed, the old configuration is in force"
    ingest.types.configure(d4.rules())
    ingest.limits, ingest.shared_secret = settings.limits, d4.secret()
    enrolment.settings = d4
    figures.certificate(d4.certificate)
    return "Reloaded"


async def _look_first(ingest: Ingest) -> None:
    """Which types are accepted is known before the first connection, unless Redis is away."""
    looking = asyncio.create_task(ingest.types.renew(ingest.redis))
    await asyncio.wait([looking], timeout=FIRST_LOOK_TIME)
    await cancel(looking)
    if not looking.cancelled():
        looking.exception()  # _keep_house says that Redis does not work


async def _keep_house(redis: Redis, types: Types) -> None:
    """Makes the first queue, anew if Redis was emptied; drops what is beyond caps; frees what no queue needs.

    While Redis is full, only the dropping and freeing work, and that is what makes room.
    """
    failing = False
    caps = Backlogs()
    while True:
        try:
            await caps.enforce(redis)
            for type in {*types.names(), *(await queues.queues(redis)).values()}:
                await queues.trim(redis, type)
            await caps.count(redis)
            await queues.create_first_queue(redis, FIRST_QUEUE, FIRST_QUEUE)
        except RedisError as error:
            if not failing:
                log.error("Redis does not work, trying again: %s", redis_client.explain(error))
            failing = True
        else:
            if failing:
                log.info("Redis works again")
            failing = False
        await asyncio.sleep(HOUSEKEEPING_INTERVAL)


async def _serve_metrics(where: Path | Endpoint | None, figures: Figures) -> list[asyncio.Server]:
    """Metrics are worth a line in the log where they cannot be had, not a server that does not start."""
    if where is None:
        return []
    registry = CollectorRegistry()
    registry.register(figures)
    try:
        return [await metrics.serve(where, registry)]
    except OSError as error:
        log.warning("no metrics, cannot listen at %s: %s", where, error.strerror or error)
        return []


async def _write_statistics(ingest: Ingest, redis: Redis, days: int) -> None:
    """And looks, when Redis has them, who has sent as much as it may."""
    while True:
        await asyncio.sleep(STATISTICS_INTERVAL)
        with suppress(RedisError):  # they are kept; _keep_house says that Redis does not work
            await ingest.statistics.write(redis, days)
            await ingest.check_caps()


async def _write_last_statistics(statistics: Statistics, redis: Redis, days: int) -> None:
    writing = asyncio.create_task(statistics.write(redis, days))
    await asyncio.wait([writing], timeout=LAST_WRITE_TIME)
    await cancel(writing)
    if writing.cancelled() or writing.exception():
        log.warning("Redis did not take the last statistics; they are lost")


async def _tell_status(ingest: Ingest, store: Store, service: Service) -> None:
    while True:
        await asyncio.sleep(STATUS_INTERVAL)
        service.status(_status(ingest, store))


def _status(ingest: Ingest, store: Store) -> str:
    packets = sum(volume.packets for volume in ingest.statistics.volumes().values())
    return (
        f"{len(ingest)} connections, {packets} packets accepted, {store.stored} stored, "
        f"{store.repeated} sent again and left out, {store.gaps} gaps, "
        f"{ingest.refused.total()} connections refused"
    )
