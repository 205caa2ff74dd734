"""`d4-server web`: the page and the API, in a process of their own, until it is asked to stop."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from aiohttp import web

from d4common import badrequests, config, redis_client, tls
from d4common.listening import names, tcp
from d4common.service import Service, cancel
from d4server.config import ServerConfig
from d4server.web.site import Site

log = logging.getLogger(__name__)

Files = Callable[[], list[Path]]

SOCKET = "web"
"""Name of the socket that systemd holds (FileDescriptorName=)."""

STATUS_INTERVAL = 10.0
LONGEST_GOODBYE = 3.0
"""Seconds that a stop leaves to requests."""


async def run(files: Files, settings: ServerConfig, service: Service) -> None:
    """The daemon. ``files`` names what a reload reads, drop-ins that are new by then too."""
    redis = redis_client.connect_or_end(settings.redis)
    context = tls.server_context(settings.d4.certificate, settings.d4.key_file())
    sockets = tcp(SOCKET, settings.web.endpoint)
    badrequests.keep_short()
    site = Site(redis, settings)
    runner = web.AppRunner(site.application(), access_log=None)
    await runner.setup()
    for each in sockets:
        await web.SockSite(runner, each, ssl_context=context).start()
    tasks = [asyncio.create_task(work) for work in (site.keep(), _tell_status(site, service))]
    service.ready(f"Listening on {names(sockets)}", partial(_reload, files, context, site))
    await service.stopping.wait()
    await cancel(*tasks)
    with suppress(TimeoutError):
        await asyncio.wait_for(runner.cleanup(), LONGEST_GOODBYE)
    await redis_client.close(redis)


def _reload(files: Files, context: ssl.SSLContext, site: Site) -> str:
    """Takes over the certificate and the configuration; where to listen and Redis need a restart."""
    try:
        settings = config.load(ServerConfig, files()).value
        d4 = settings.d4
        # A context forgets its certificate before it looks at another, so that one is tried elsewhere first.
        tls.server_context(d4.certificate, d4.key_file())
        context.load_cert_chain(d4.certificate, d4.key_file())
    except (config.ConfigError, tls.TLSError, OSError) as error:
        log.error("not reloaded, the old configuration stays: %s", error)
        return "Reload failed, the old configuration is in force"
    site.settings = replace(settings, redis=site.settings.redis, web=site.settings.web)
    return "Reloaded"


async def _tell_status(site: Site, service: Service) -> None:
    while True:
        await asyncio.sleep(STATUS_INTERVAL)
        service.status(f"{site.answered} requests answered, {site.throttled} were too many")
