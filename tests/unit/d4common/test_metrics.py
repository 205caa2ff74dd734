"""The page of metrics: what it answers to whom, and that nothing a client does harms it."""

from __future__ import annotations

import asyncio
import http.client
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from d4common import metrics
from d4common.config import Endpoint
from d4common.metrics import Source


@pytest.fixture
def source() -> Source:
    """One figure."""
    waiting = GaugeMetricFamily("waiting", "What waits.", labels=["where"])
    waiting.add_metric(["here"], 3)

    async def tell() -> list[Metric]:
        return [waiting]

    return tell


async def nothing() -> list[Metric]:
    return []


def serving(where: Path, source: Source, test: Callable[[], Awaitable[None]]) -> None:
    """Runs a test while the page is served."""

    async def run() -> None:
        server = await metrics.serve(where, source)
        try:
            await test()
        finally:
            server.close()

    asyncio.run(run())


async def ask(path: Path, request: bytes) -> bytes:
    """What is answered to bytes behind which the client closes its end."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(request)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


def test_what_is_served_can_be_fetched(tmp_path: Path, source: Source) -> None:
    where = tmp_path / "m.sock"

    async def test() -> None:
        assert stat.S_IMODE(where.stat().st_mode) == 0o660
        found = await asyncio.to_thread(metrics.fetch, where)
        assert found == {"waiting": [({"where": "here"}, 3.0)]}
        [waiting] = await metrics.ask(where, 10)
        assert (waiting.name, waiting.documentation, waiting.type) == ("waiting", "What waits.", "gauge")

    serving(where, source, test)


def test_a_port_serves_it_to_any_client_of_http(source: Source) -> None:
    def get(port: int) -> tuple[int, str | None, bytes]:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        client.request("GET", "/metrics?x=y")
        answer = client.getresponse()
        found = answer.status, answer.getheader("Content-Type"), answer.read()
        client.close()
        return found

    async def run() -> None:
        server = await metrics.serve(Endpoint("127.0.0.1", 0), source)
        port = server.sockets[0].getsockname()[1]
        status, kind, body = await asyncio.to_thread(get, port)
        assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert b'waiting{where="here"} 3.0\n' in body
        server.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"200"),
        (b"HEAD /metrics HTTP/1.0\r\n\r\n", b"200"),
        (b"GET / HTTP/1.0\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.0\r\n\r\n", b"405"),
        (b"\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.0", b"400"),
        (b"", b"400"),
        (b"x" * 100_000, b"400"),
    ],
)
def test_each_request_has_its_answer(tmp_path: Path, source: Source, request_: bytes, status: bytes) -> None:
    where = tmp_path / "m.sock"

    async def test() -> None:
        answer = await ask(where, request_)
        assert answer.split()[1] == status
        if request_.startswith(b"HEAD"):
            assert answer.endswith(b"\r\n\r\n")

    serving(where, source, test)


@given(st.one_of(st.binary(max_size=60), st.binary(max_size=40).map(lambda end: b"GET " + end)))
def test_any_request_has_an_answer(request: bytes) -> None:
    answer = asyncio.run(metrics.respond(request, nothing))
    assert answer.startswith(b"HTTP/1.0 ") and b"\r\n\r\n" in answer


def test_clients_that_say_nothing_are_few_and_not_for_long(
    tmp_path: Path, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "REQUEST_TIME", 0.5)
    where = tmp_path / "m.sock"

    async def test() -> None:
        silent = [await asyncio.open_unix_connection(str(where)) for _ in range(metrics.MOST_CONNECTIONS)]
        reader, writer = await asyncio.open_unix_connection(str(where))
        assert await reader.read() == b"", "one more is closed at once"
        writer.close()
        for reader, writer in silent:
            assert await reader.read() == b"", "the silent ones in time"
            writer.close()
        assert (await ask(where, b"GET /metrics HTTP/1.0\r\n\r\n")).split()[1] == b"200"

    serving(where, source, test)


def test_a_socket_that_was_left_behind_is_replaced(tmp_path: Path, source: Source) -> None:
    where = tmp_path / "m.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(where))

    async def test() -> None:
        await asyncio.to_thread(metrics.fetch, where)
        with pytest.raises(OSError, match="another process"):
            await metrics.serve(where, source)
        await asyncio.to_thread(metrics.fetch, where)

    serving(where, source, test)


def test_what_is_no_socket_is_left_alone(tmp_path: Path, source: Source) -> None:
    where = tmp_path / "m.sock"
    where.write_text("precious")
    with pytest.raises(OSError):
        asyncio.run(metrics.serve(where, source))
    assert where.read_text() == "precious"


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.0 404 Not Found\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n{ nonsense"]
)
def test_what_is_no_exposition_is_a_value_error(tmp_path: Path, answer: bytes) -> None:
    where = tmp_path / "m.sock"

    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async def run() -> None:
        server = await asyncio.start_unix_server(other, str(where))
        with pytest.raises(ValueError):
            await asyncio.to_thread(metrics.fetch, where)
        server.close()

    asyncio.run(run())
