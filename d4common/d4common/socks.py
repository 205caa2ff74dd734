"""SOCKS5 (RFC 1928) with user name and password (RFC 1929), the client's end of a CONNECT."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from ipaddress import ip_address

from d4common.config import Endpoint, Proxy

VERSION, CONNECT = 5, 1
NO_AUTHENTICATION, PASSWORD = 0, 2
IPV4, NAME, IPV6 = 1, 3, 4

_SIZES = {IPV4: 4, IPV6: 16}

_REPLIES = {
    1: "general failure",
    2: "its rules do not allow this",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "no answer in time",
    7: "it cannot connect to anything",
    8: "it does not know this type of address",
}
"""What a reply says, by its number (RFC 1928, section 6)."""

Dialogue = Generator[tuple[bytes, int], bytes, None]
"""Yields what to write and how many bytes to read then, and is sent these."""


class ProxyError(OSError):
    """The proxy does not do what it is asked for; the message says why."""


def dialogue(proxy: Proxy, destination: Endpoint) -> Dialogue:
    """Asks ``proxy`` for a connection to ``destination``, whose name the proxy resolves. No I/O.

    Raises ProxyError.
    """
    method = NO_AUTHENTICATION if proxy.user is None else PASSWORD
    version, chosen = yield bytes((VERSION, 1, method)), 2
    if version != VERSION:
        raise ProxyError(f"proxy {proxy}: it does not speak SOCKS5")
    if chosen != method:
        wanted = "a user name and a password" if proxy.user is None else "another way to authenticate"
        raise ProxyError(f"proxy {proxy}: it asks for {wanted}")
    if proxy.user is not None:
        _, status = yield b"\x01" + _counted(proxy.user) + _counted(proxy.password), 2
        if status:
            raise ProxyError(f"proxy {proxy}: it does not know this user name and password")
    request = bytes((VERSION, CONNECT, 0)) + _address(destination.host) + destination.port.to_bytes(2, "big")
    _, reply, _, kind = yield request, 4
    if reply:
        raise ProxyError(f"proxy {proxy}: {_REPLIES.get(reply, f'failure {reply}')}")
    # The address from which the proxy connects is of no use, but it has to be read.
    if kind == NAME:
        (size,) = yield b"", 1
    elif kind in _SIZES:
        size = _SIZES[kind]
    else:
        raise ProxyError(f"proxy {proxy}: its reply has an address of unknown type {kind}")
    yield b"", size + 2


async def ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, proxy: Proxy, destination: Endpoint
) -> None:
    """Has the proxy at the other end connect to ``destination``; all that follows goes there.

    Raises OSError.
    """
    asking = dialogue(proxy, destination)
    answer: bytes | None = None
    try:
        while True:
            data, size = asking.send(answer) if answer is not None else next(asking)
            writer.write(data)
            answer = await reader.readexactly(size)
    except StopIteration:
        return
    except asyncio.IncompleteReadError:
        raise ProxyError(f"proxy {proxy}: it has closed the connection") from None


def _counted(text: str) -> bytes:
    data = text.encode()
    return bytes((len(data),)) + data


def _address(host: str) -> bytes:
    try:
        address = ip_address(host)
    except ValueError:
        return bytes((NAME,)) + _counted(host)
    return bytes((IPV4 if address.version == 4 else IPV6,)) + address.packed
