"""Metrics for Prometheus, over HTTP on a Unix socket or a loopback port.

Enough of HTTP/1.0 (RFC 1945) for a scrape: one request a connection, GET or HEAD of /metrics. What a client
sends costs no more than a few KB and seconds, whatever it is.
"""

from __future__ import annotations

import asyncio
import socket
import stat
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from d4common.config import Endpoint

MAX_REQUEST = 8192
"""Bytes of a request up to the empty line."""

REQUEST_TIME = 5.0
"""Seconds in which a request must have come, and then the answer gone."""

MOST_CONNECTIONS = 16
"""At once; further ones are closed."""

SOCKET_MODE = 0o660
"""Of the Unix socket."""

FETCH_TIME = 5.0
"""Seconds that fetch() waits."""

REQUEST = b"GET /metrics HTTP/1.0\r\n\r\n"

Source = Callable[[], Awaitable[Iterable[Metric]]]
"""What there is to tell at the moment; asked at each scrape."""

Samples = dict[str, list[tuple[dict[str, str], float]]]
"""By name: labels and value of each."""


async def serve(where: Path | Endpoint, source: Source) -> asyncio.Server:
    """Answers scrapes until the server is closed. Raises OSError where it cannot listen.

    A Unix socket that nobody listens at any more is replaced; its directory must exist.
    """
    answer = partial(_answer, asyncio.Semaphore(MOST_CONNECTIONS), source)
    if isinstance(where, Endpoint):
        return await asyncio.start_server(answer, where.host, where.port, limit=MAX_REQUEST)
    listening = _bind(where)
    return await asyncio.start_unix_server(answer, sock=listening, limit=MAX_REQUEST)


def fetch(where: Path | Endpoint) -> Samples:
    """What a daemon says at the moment. Raises OSError, and ValueError where it is no exposition."""
    with _connect(where) as client:
        client.sendall(REQUEST)
        with client.makefile("rb") as answer:
            families = _families(answer.read())
    samples: Samples = {}
    for family in families:
        for sample in family.samples:
            samples.setdefault(sample.name, []).append((sample.labels, sample.value))
    return samples


async def ask(where: Path, most: float) -> list[Metric]:
    """The same of the daemon at a Unix socket, within ``most`` seconds, while the event loop turns."""
    return _families(await asyncio.wait_for(_read(where), most))


async def _read(where: Path) -> bytes:
    reader, writer = await asyncio.open_unix_connection(where)
    try:
        writer.write(REQUEST)
        return await reader.read()
    finally:
        writer.transport.abort()


def _families(answer: bytes) -> list[Metric]:
    """What an answer holds. Raises ValueError where it is no exposition."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if head.split(maxsplit=2)[1:2] != [b"200"]:
        raise ValueError("the answer is no page of metrics")
    return list(text_string_to_metric_families(body.decode()))  # type: ignore[no-untyped-call]


def _connect(where: Path | Endpoint) -> socket.socket:
    if isinstance(where, Endpoint):
        return socket.create_connection((where.host, where.port), timeout=FETCH_TIME)
    client = socket.socket(socket.AF_UNIX)
    try:
        client.settimeout(FETCH_TIME)
        client.connect(str(where))
    except BaseException:
        client.close()
        raise
    return client


def _bind(path: Path) -> socket.socket:
    """A Unix socket at ``path``, in place of one that a daemon left there. Raises OSError."""
    listening = socket.socket(socket.AF_UNIX)
    try:
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            if listening.connect_ex(str(path)) == 0:
                raise OSError(None, "another process listens there")
            path.unlink()
        listening.bind(str(path))
        path.chmod(SOCKET_MODE)
    except BaseException:
        listening.close()
        raise
    return listening


async def _answer(
    places: asyncio.Semaphore,
    source: Source,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """One connection."""
    try:
        if not places.locked():
            async with places:
                await asyncio.wait_for(_talk(source, reader, writer), 2 * REQUEST_TIME)
    except (OSError, TimeoutError, asyncio.CancelledError):
        pass  # the client is gone, or too slow, or the daemon is stopping
    finally:
        writer.transport.abort()


async def _talk(source: Source, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        request = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), REQUEST_TIME)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        request = b""
    writer.write(await respond(request, source))
    writer.write_eof()
    await writer.drain()
    while await reader.read(MAX_REQUEST):
        pass  # until the client has closed, or the time is up: so nothing of the answer is cut off


async def respond(request: bytes, source: Source) -> bytes:
    """The answer to a request, which ends with its empty line."""
    method, target, *_ = [*request.split(b"\r\n")[0].split(b" "), b"", b""]
    if not request.startswith((b"GET ", b"HEAD ")):
        status, body = ("405 Method Not Allowed", b"only GET\n") if target else ("400 Bad Request", b"")
    elif target.partition(b"?")[0] != b"/metrics":
        status, body = "404 Not Found", b"/metrics is here\n"
    else:
        status, body = "200 OK", _page(await source())
    kind = CONTENT_TYPE_LATEST if status.startswith("200") else "text/plain"
    head = f"HTTP/1.0 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + (b"" if method == b"HEAD" else body)


def _page(families: Iterable[Metric]) -> bytes:
    """In the text format of Prometheus."""
    registry = CollectorRegistry()
    registry.register(_Families(families))
    return generate_latest(registry)


class _Families(Collector):
    """Families that are there already, in the form that the library wants."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._found = families

    def collect(self) -> Iterable[Metric]:
        return self._found
