"""Out of the sensor: into a spool, and from there to the server that is configured."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from d4common import tls
from d4common.client import Client
from d4common.delivery import first
from d4common.outbox import Outbox
from d4common.packet import EXTENDED
from d4common.sender import Identity, Sender
from d4common.service import cancel
from d4sensor.config import D4
from d4sensor.config import Spool as Settings
from d4sensor.outbox import Pack, SpoolOutbox, packed_lines
from d4sensor.salvage import open_spool
from d4sensor.spool import Spool
from d4sensor.spoolfile import SpoolError, explained

log = logging.getLogger(__name__)

EVENTS = "maltrail"
"""The meta type of events."""

EVENT_SPOOL = "maltrail.db"
"""The file of their spool."""

STOP_TIME = 10.0
"""Seconds that a stop takes at most, for what is not yet on disk and not yet with the server."""

NEVER = 1 << 62
"""A number that no packet ever gets."""


class Committed(Protocol):
    """An outbox whose records are safe once they are committed."""

    async def committed(self) -> None:
        """Returns when all that was put is safe. Raises SpoolError."""

    async def close(self) -> None:
        """Commits what can be, and closes it."""


class NoIdentity(Exception):
    """The configuration has no UUID or no key."""


def sender(settings: D4, type: int, meta_header: dict[str, Any] | None = None) -> Sender:
    """What signs packets of a D4 type as this sensor's. Raises NoIdentity."""
    if settings.uuid is None or settings.key is None:
        raise NoIdentity("[d4] uuid and key are not set; `d4-sensor identity` makes them")
    return Sender(Identity(settings.uuid, settings.key.encode()), type, meta_header, settings.version)


def event_sender(settings: D4) -> Sender:
    """What signs packets of events, lines of the meta type ``maltrail``. Raises NoIdentity."""
    return sender(settings, EXTENDED, {"type": EVENTS})


def outbox(
    path: Path, settings: Settings, sender: Sender, snaplen: int, pack: Pack = packed_lines
) -> SpoolOutbox:
    """Where records wait to be sent by ``sender``: in the spool at ``path``, which nobody else may use.

    ``snaplen`` and ``pack`` as SpoolOutbox has them.
    """
    return SpoolOutbox(partial(_open, path, settings, sender), snaplen, pack)


def client(settings: D4, sender: Sender, waiting: Outbox, changed: Callable[[str], None]) -> Client:
    """The client that sends what is ``waiting``.

    Each change of the connection is logged once, however often it is tried; ``changed`` hears it too.
    """
    context = partial(tls.client_context, settings.ca, settings.verify, own=settings.own_certificate())
    last = ""

    def report(state: str) -> None:
        nonlocal last
        if state != last:
            log.log(logging.INFO if sending.connected else logging.WARNING, "%s", state)
            last = state
        changed(state)

    sending = Client(sender, waiting, settings.destination, context, report, settings.proxy)
    return sending


async def deliver(client: Client, waiting: Outbox) -> None:
    """Sends until the client is stopped. Raises SpoolError."""
    # Whoever waits for the outbox hears that the spool is damaged; the client may have no connection.
    await first(client.run(), waiting.filled(NEVER))


async def finish(client: Client, waiting: Committed, shipping: asyncio.Task[None]) -> None:
    """Commits and sends what there is, in STOP_TIME seconds, and ends ``shipping``, which delivers it."""
    if not shipping.done():
        with suppress(TimeoutError, SpoolError):
            async with asyncio.timeout(STOP_TIME):
                await waiting.committed()
                client.stop()
                await asyncio.shield(shipping)
    await cancel(shipping)
    await waiting.close()


class Shipping:
    """A spool that is being sent, from its opening to its closing."""

    def __init__(self, outbox: SpoolOutbox, client: Client, ended: Callable[[], None]) -> None:
        """Begins at once. ``ended`` is called when it cannot go on; stop() says why."""
        self._outbox = outbox
        self._client = client
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(lambda task: ended())

    async def stop(self) -> None:
        """Commits and sends what there is, in STOP_TIME seconds, and closes the spool.

        Raises SpoolError if that is what ended it.
        """
        await finish(self._client, self._outbox, self._task)
        if not self._task.cancelled():
            self._task.result()

    async def _run(self) -> None:
        await self._outbox.open()
        await deliver(self._client, self._outbox)


def _open(path: Path, settings: Settings, sender: Sender) -> Spool:
    """Opens a spool; it and its directory are made if they are not there. Raises SpoolError."""
    with explained(path.parent):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    most_age = settings.max_days * 86400
    return open_spool(path, sender.type, sender.meta_header, settings.max_size, most_age)
