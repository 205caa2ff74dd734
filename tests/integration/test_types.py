"""Every type of D4, plain and in an acknowledged session: lines stay whole, byte streams stay exact."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from acknowledging import Acknowledged
from serving import Server, closed, packet
from waiting import wait_for

LINE_TYPES = (3, 6, 8)
CHUNK_TYPES = (1, 4, 5, 7)
META_TYPES = ("maltrail", "ja3-jl", "d4-telemetry", "fascia")

LINES = [b'{"number":%d,"text":"%s"}' % (number, b"x" * (number * 37 % 900)) for number in range(300)]


@pytest.fixture
def server(tmp_path: Path, redis_socket: Path) -> Iterator[Server]:
    """A running d4-server as it is configured from the start."""
    server = Server(tmp_path, redis_socket)
    server.daemon.start()
    yield server
    server.daemon.stop()
    server.redis.close()


def cut(data: bytes, seed: int = 0) -> list[bytes]:
    """Data in payloads of any size, empty ones too."""
    generator, pieces = random.Random(seed), list[bytes]()
    while data:
        size = generator.choice((0, 1, 5, 80, 1000, 4096))
        pieces.append(data[:size])
        data = data[size:]
    return pieces


@pytest.mark.parametrize("type", LINE_TYPES)
def test_a_type_of_lines_is_stored_by_whole_lines(server: Server, type: int) -> None:
    uuid = server.sensor()
    with server.connect() as connection:
        for payload in cut(b"\n".join(LINES)):
            connection.sendall(packet(uuid, type, payload))
        connection.unwrap()
    wait_for(lambda: len(server.lines(uuid, str(type))) == len(LINES))
    assert server.lines(uuid, str(type)) == LINES
    assert all(entry.endswith(b"\n") for entry in server.entries(uuid, str(type))), (
        "no line is in two entries"
    )


@pytest.mark.parametrize("type", META_TYPES)
def test_a_meta_type_is_stored_by_whole_lines(server: Server, type: str) -> None:
    uuid = server.sensor()
    with server.connect() as connection:
        connection.sendall(packet(uuid, 2, json.dumps({"type": type}).encode()))
        for payload in cut(b"\n".join(LINES)):
            connection.sendall(packet(uuid, 254, payload))
        connection.unwrap()
    wait_for(lambda: len(server.lines(uuid, type)) == len(LINES))
    assert server.lines(uuid, type) == LINES
    assert all(entry.endswith(b"\n") for entry in server.entries(uuid, type))


@pytest.mark.parametrize("type", CHUNK_TYPES)
def test_a_byte_stream_comes_out_as_it_went_in(server: Server, type: int) -> None:
    """Bytes that look like lines are none, and nothing is added where it ends."""
    uuid, data = server.sensor(), random.Random(type).randbytes(200_000) + b"\n\n\0half"
    with server.connect() as connection:
        for payload in cut(data, type):
            connection.sendall(packet(uuid, type, payload))
        connection.unwrap()
    wait_for(lambda: sum(map(len, server.entries(uuid, str(type)))) >= len(data))
    assert b"".join(server.entries(uuid, str(type))) == data


@pytest.mark.parametrize("type", CHUNK_TYPES)
def test_a_byte_stream_is_exact_over_sessions_that_break(server: Server, type: int) -> None:
    uuid, data = server.sensor(), random.Random(type).randbytes(100_000)
    pieces = [piece for piece in cut(data, type) if piece]
    half = len(pieces) // 2
    with Acknowledged(server.port, server.ca, uuid, type=type) as first:
        first.announce(1)
        first.send(*pieces[: half + 10])
        first.acknowledged(half)
    with Acknowledged(server.port, server.ca, uuid, first.spool, type=type) as second:
        second.announce(half + 1)
        second.send(*pieces[half:])
        second.acknowledged(len(pieces))
    assert b"".join(server.entries(uuid, str(type))) == data


def test_a_meta_type_may_be_a_byte_stream(server: Server) -> None:
    """Where that is configured; another one stays lines."""
    server.daemon.stop()
    server.config.write_text(server.config.read_text().replace("[d4]\n", "[d4]\nchunk_types = fascia\n"))
    server.daemon.start()
    uuid, data = server.sensor(), random.Random(0).randbytes(50_000) + b"\n\n\0half"
    for type in ("fascia", "ja3-jl"):
        with server.connect() as connection:
            connection.sendall(packet(uuid, 2, json.dumps({"type": type}).encode()))
            for payload in cut(data):
                connection.sendall(packet(uuid, 254, payload))
            connection.unwrap()
    wait_for(lambda: sum(map(len, server.entries(uuid, "ja3-jl"))) > len(data))
    assert b"".join(server.entries(uuid, "fascia")) == data
    assert b"".join(server.entries(uuid, "ja3-jl")) == data + b"\n"


@pytest.mark.parametrize("type", LINE_TYPES)
def test_lines_are_whole_over_sessions_that_break(server: Server, type: int) -> None:
    uuid = server.sensor()
    pieces = [piece for line in LINES for piece in (line[:10], line[10:], b"\n")]
    with Acknowledged(server.port, server.ca, uuid, type=type) as first:
        first.announce(1)
        first.send(*pieces[: len(pieces) // 2])
        first.acknowledged(3)
    reached = first.answers[-1]
    with Acknowledged(server.port, server.ca, uuid, first.spool, type=type) as second:
        second.announce(reached + 1)
        second.send(*pieces[reached:])
        second.acknowledged(len(pieces))
    assert server.lines(uuid, str(type)) == LINES


@pytest.mark.parametrize("type", [0, 9, 100, 253, 255])
def test_other_types_are_refused(server: Server, type: int) -> None:
    uuid = server.sensor()
    with server.connect() as connection:
        connection.sendall(packet(uuid, type, b"x\n"))
        assert closed(connection)
    wait_for(lambda: f"type {type} is not accepted" in server.log())


def test_types_that_are_not_configured_are_refused(server: Server) -> None:
    server.daemon.stop()
    server.config.write_text(server.config.read_text().replace("[d4]\n", "[d4]\ntypes = 3 8\n"))
    server.daemon.start()
    uuid = server.sensor()
    for type in (1, 2, 254):
        with server.connect() as connection:
            connection.sendall(packet(uuid, type, b'{"type":"maltrail"}'))
            assert closed(connection)
    with server.connect() as connection:
        connection.sendall(packet(uuid, 8, b"x\n"))
        wait_for(lambda: server.lines(uuid, "8") == [b"x"])
