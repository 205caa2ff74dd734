"""Where a daemon listens for TCP: at the sockets that systemd holds for it, or at one of its own."""

from __future__ import annotations

import socket
from collections.abc import Iterable

from d4common.config import Endpoint
from d4common.service import end, inherited_sockets

BACKLOG = 1024
"""Connections that may wait to be accepted."""


def tcp(name: str, endpoint: Endpoint) -> list[socket.socket]:
    """What systemd holds under ``name`` (FileDescriptorName=), or a socket at ``endpoint``; :: is IPv4 too.

    Ends the process where nobody can listen there.
    """
    inherited = inherited_sockets(name)
    if inherited:
        return inherited
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    both = endpoint.host == "::" and socket.has_dualstack_ipv6()
    address = endpoint.host, endpoint.port
    try:
        return [socket.create_server(address, family=family, dualstack_ipv6=both, backlog=BACKLOG)]
    except OSError as error:
        end(f"cannot listen on {endpoint.host} port {endpoint.port}: {error.strerror}")


def names(listening: Iterable[socket.socket]) -> str:
    """Where sockets listen, for people."""
    return ", ".join(str(Endpoint(*each.getsockname()[:2])) for each in listening)
