"""d4-server as a process: real TLS, real Redis, whatever a client may send."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from serving import META, Server, closed, packet
from waiting import wait_for

from d4common.records import PARTITIONS, stream


@pytest.fixture
def server(tmp_path: Path, redis_socket: Path) -> Iterator[Server]:
    server = Server(tmp_path, redis_socket)
    server.daemon.start()
    yield server
    server.daemon.stop()
    server.redis.close()


def test_stores_whole_lines_of_a_meta_type(server: Server) -> None:
    uuid = server.sensor()
    with server.connect() as connection:
        connection.sendall(packet(uuid, 2, META) + packet(uuid, 254, b"one\ntw"))
        connection.sendall(packet(uuid, 254, b"o\nthree\n"))
        wait_for(lambda: server.data(uuid) == b"one\ntwo\nthree\n")


def test_keeps_the_last_line_that_nothing_ended(server: Server) -> None:
    uuid = server.sensor()
    with server.connect() as connection:
        connection.sendall(packet(uuid, 3, b"whole\nhalf"))
    wait_for(lambda: server.data(uuid, "3") == b"whole\nhalf\n")


def test_accepts_any_chunking_and_empty_packets(server: Server) -> None:
    uuid = server.sensor()
    stream = packet(uuid, 8, b"a,b\n") + packet(uuid, 8, b"") + packet(uuid, 8, b"c\n")
    with server.connect() as connection:
        for offset in range(len(stream)):
            connection.sendall(stream[offset : offset + 1])
        wait_for(lambda: server.data(uuid, "8") == b"a,b\nc\n")


def test_stores_chunks_of_a_byte_stream_as_they_come(server: Server) -> None:
    uuid = server.sensor()
    with server.connect() as connection:
        connection.sendall(packet(uuid, 1, b"\x00\n\x01") + packet(uuid, 1, b"\x02"))
        wait_for(lambda: server.entries(uuid, "1") == [b"\x00\n\x01", b"\x02"])


def test_the_first_queue_exists_from_the_start(server: Server) -> None:
    wait_for(lambda: server.redis.exists(stream("maltrail", PARTITIONS - 1)))
    groups = server.redis.xinfo_groups(stream("maltrail", 0))
    assert [group["name"] for group in groups] == [b"maltrail"]


REFUSED = {
    "hmac": lambda uuid: packet(uuid, 3, b"x\n", key=b"wrong"),
    "size": lambda uuid: packet(uuid, 3, b"")[:58] + (1_000_001).to_bytes(4, "little"),
    "type": lambda uuid: packet(uuid, 99, b"x\n"),
    "type-change": lambda uuid: packet(uuid, 3, b"x\n") + packet(uuid, 8, b"y\n"),
    "uuid-change": lambda uuid: packet(uuid, 3, b"x\n") + packet(uuid4(), 3, b"y\n"),
    "uuid-version": lambda uuid: packet(UUID(int=1), 3, b"x\n"),
    "no-meta-header": lambda uuid: packet(uuid, 254, b"x\n"),
    "meta-header": lambda uuid: packet(uuid, 2, b"{") + packet(uuid, 254, b"x\n"),
    "meta-type": lambda uuid: packet(uuid, 2, b'{"type":"novel"}'),
    "unknown-sensor": lambda uuid: packet(uuid4(), 3, b"x\n"),
}


def test_refuses_with_a_reason_and_serves_the_others(server: Server) -> None:
    good = server.sensor()
    with server.connect() as witness:
        for number, bad in enumerate(REFUSED.values(), 1):
            uuid = server.sensor()
            with server.connect() as connection:
                connection.sendall(bad(uuid))
                assert closed(connection)
            wait_for(lambda: server.log().count("refused sensor") == number)  # noqa: B023
        witness.sendall(packet(good, 3, b"still here\n"))
        wait_for(lambda: server.data(good, "3") == b"still here\n")


def test_logs_the_same_refusal_once(server: Server) -> None:
    uuid = server.sensor()
    for _ in range(3):
        with server.connect() as connection:
            connection.sendall(packet(uuid, 3, b"x\n", key=b"wrong"))
            assert closed(connection)
    assert server.log().count("refused sensor") == 1
    assert f"refused sensor {uuid} at 127.0.0.1: the HMAC does not match" in server.log()


def test_stores_what_came_before_the_refused_packet(server: Server) -> None:
    uuid = server.sensor()
    with server.connect() as connection:
        connection.sendall(packet(uuid, 3, b"good\n") + packet(uuid, 3, b"bad\n", key=b"wrong"))
        assert closed(connection)
    wait_for(lambda: server.data(uuid, "3") == b"good\n")


def test_loses_nothing_it_has_read_while_redis_is_away(server: Server) -> None:
    uuid = server.sensor()
    with server.connect() as connection:
        connection.sendall(packet(uuid, 3, b"before\n"))
        wait_for(lambda: len(server.entries(uuid, "3")) == 1)
        # CLIENT PAUSE is Redis that does not answer; the server has a command under way in it.
        server.redis.client_pause(1500, all=False)
        connection.sendall(packet(uuid, 3, b"meanwhile\n"))
        wait_for(lambda: server.data(uuid, "3") == b"before\nmeanwhile\n")


def test_a_reload_with_a_broken_configuration_keeps_the_old_one(server: Server) -> None:
    uuid = server.sensor()
    text = server.config.read_text()
    server.config.write_text(text + "tls_prot = 1\n")
    assert server.daemon.process is not None
    server.daemon.process.send_signal(1)
    wait_for(lambda: "did you mean tls_port?" in server.log())
    with server.connect() as connection:
        connection.sendall(packet(uuid, 3, b"x\n"))
        wait_for(lambda: server.data(uuid, "3") == b"x\n")


def test_a_stop_stores_what_was_received(server: Server) -> None:
    uuid = server.sensor()
    with server.connect() as connection:
        connection.sendall(packet(uuid, 3, b"whole\nhalf"))
        wait_for(lambda: server.data(uuid, "3") == b"whole\n")
        server.daemon.stop()
    assert server.data(uuid, "3") == b"whole\nhalf\n"
