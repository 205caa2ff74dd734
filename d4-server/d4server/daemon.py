"""`d4-server run`: listens, stores, trims, until it is asked to stop."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from d4common import config, records, tls
from d4common.enrolling import ALPN_ENROLL
from d4common.service import Service, cancel, end, inherited_sockets
from d4server import client_certificates
from d4server.config import ServerConfig
from d4server.enrolment import Enrolment
from d4server.ingest import Ingest
from d4server.store import Store

log = logging.getLogger(__name__)

Files = Callable[[], list[Path]]

SOCKET = "d4"
"""Name of the socket that systemd holds (FileDescriptorName=)."""

FIRST_QUEUE = "maltrail"
"""The analyzer queue that exists from the start, and the meta type that it takes."""

HOUSEKEEPING_INTERVAL = 5.0
STATUS_INTERVAL = 5.0
"""Seconds."""


async def run(files: Files, settings: ServerConfig, service: Service) -> None:
    """The daemon. ``files`` names what a reload reads, drop-ins that are new by then too."""
    redis = records.connect(settings.redis.url)
    store = Store(redis)
    enrolment = Enrolment(redis, settings.d4)
    d4, others = settings.d4, {ALPN_ENROLL: enrolment.serve}
    ingest = Ingest(redis, store, d4.rules(), others, d4.client_certificates)
    client_ca = d4.client_ca if d4.client_certificates else None
    context = tls.server_context(d4.certificate, d4.key_file(), ingest.alpn, client_ca)
    context.sslobject_class = client_certificates.Handshake
    listening = _sockets(settings)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(work)
            for work in (
                store.run(),
                ingest.keep_alive(),
                ingest.check_keys(),
                _keep_house(redis, settings),
                _tell_status(ingest, store, service),
            )
        ]
        servers = [await ingest.listen(each, context) for each in listening]
        reload = partial(_reload, files, context, ingest, enrolment)
        service.ready(f"Listening on {', '.join(map(_name, listening))}", reload)
        await service.stopping.wait()
        for server in servers:
            server.close()
        await ingest.stop_reading()
        await store.flushed()
        await ingest.close()
        await cancel(*tasks)


def _reload(files: Files, context: ssl.SSLContext, ingest: Ingest, enrolment: Enrolment) -> str:
    """What holds for connections to come: certificate, rules, enrolment. The rest needs a restart."""
    try:
        d4 = config.load(ServerConfig, files()).value.d4
        # A context forgets its certificate before it looks at another, so that one is tried elsewhere first.
        tls.server_context(d4.certificate, d4.key_file())
        context.load_cert_chain(d4.certificate, d4.key_file())
    except (config.ConfigError, tls.TLSError, OSError) as error:
        log.error("not reloaded, the old configuration stays: %s", error)
        return "Reload failed, the old configuration is in force"
    ingest.rules = d4.rules()
    enrolment.settings = d4
    return "Reloaded"


def _sockets(settings: ServerConfig) -> list[socket.socket]:
    """What systemd holds for this daemon, or a socket of its own."""
    inherited = inherited_sockets(SOCKET)
    if inherited:
        return inherited
    address, port = settings.d4.listen, settings.d4.tls_port
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    both = address == "::" and socket.has_dualstack_ipv6()
    try:
        return [socket.create_server((address, port), family=family, dualstack_ipv6=both, backlog=1024)]
    except OSError as error:
        end(f"cannot listen on {address} port {port}: {error.strerror}")


def _name(listening: socket.socket) -> str:
    host, port, *_ = listening.getsockname()
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _keep_house(redis: Redis, settings: ServerConfig) -> None:
    """Makes the first queue, anew if Redis was emptied, and frees what every queue has acknowledged.

    While Redis is full, only the freeing works, and that is what makes room.
    """
    types = [*map(str, sorted(settings.d4.types)), *settings.d4.meta_types]
    failing = False
    while True:
        try:
            for type in types:
                await records.trim(redis, type)
            await records.create_queue(redis, FIRST_QUEUE, FIRST_QUEUE)
        except RedisError as error:
            if not failing:
                log.error("Redis does not work, trying again: %s", records.explain(error))
            failing = True
        else:
            if failing:
                log.info("Redis works again")
            failing = False
        await asyncio.sleep(HOUSEKEEPING_INTERVAL)


async def _tell_status(ingest: Ingest, store: Store, service: Service) -> None:
    while True:
        await asyncio.sleep(STATUS_INTERVAL)
        service.status(_status(ingest, store))


def _status(ingest: Ingest, store: Store) -> str:
    return (
        f"{len(ingest)} connections, {ingest.packets} packets accepted, {store.stored} stored, "
        f"{store.repeated} sent again and left out, {store.gaps} gaps, "
        f"{ingest.refused.total()} connections refused"
    )
