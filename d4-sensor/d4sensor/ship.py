"""Events out of the sensor: as lines of the D4 meta type ``maltrail``, to the configured server."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from d4common import tls
from d4common.client import Client, Outbox
from d4common.packet import EXTENDED
from d4common.sender import Identity, Sender
from d4sensor.config import D4

log = logging.getLogger(__name__)

MAX_WAITING = 64 << 20
"""Bytes of events kept while the server cannot be reached; then the oldest go."""

META_HEADER = {"type": "maltrail"}


class NoIdentity(Exception):
    """The configuration has no UUID or no key."""


def outbox() -> Outbox:
    """Where events wait to be sent."""
    return Outbox(MAX_WAITING)


def client(settings: D4, waiting: Outbox, changed: Callable[[str], None]) -> Client:
    """The client that sends what is ``waiting``. Raises NoIdentity.

    Each change of the connection is logged once, however often it is tried; ``changed`` hears it too.
    """
    if settings.uuid is None or settings.key is None:
        raise NoIdentity("[d4] uuid and key are not set; `d4-sensor identity` makes them")
    identity = Identity(settings.uuid, settings.key.encode())
    sender = Sender(identity, EXTENDED, META_HEADER, settings.snaplen, settings.version)
    context = partial(tls.client_context, settings.ca, settings.verify)
    last = ""

    def report(state: str) -> None:
        nonlocal last
        if state != last:
            log.log(logging.INFO if sending.connected else logging.WARNING, "%s", state)
            last = state
        changed(state)

    sending = Client(sender, waiting, settings.destination, context, report)
    return sending
