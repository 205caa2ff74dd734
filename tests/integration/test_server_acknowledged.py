"""Acknowledged sessions: d4-server as a process, real TLS, real Redis, and whatever dies in between."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from acknowledging import Acknowledged
from serving import META, Server, closed, end, packet
from storing import noise
from waiting import wait_for

from d4common import tls
from d4common.enrolling import ALPN_ENROLL
from d4common.records import partition
from demo.chain import Daemon


def session(server: Server, sensor: UUID, spool: UUID | None = None, type: int = 3) -> Acknowledged:
    return Acknowledged(server.port, server.ca, sensor, spool, type=type)


def numbered(first: int, last: int) -> list[bytes]:
    """Packets of one line each, which is the packet's number."""
    return [b"%d\n" % number for number in range(first, last + 1)]


def stored(server: Server, sensor: UUID) -> list[int]:
    """The numbers that are stored."""
    return [int(line.split()[0]) for line in server.lines(sensor, "3")]


def test_what_is_acknowledged_is_stored(server: Server) -> None:
    sensor = server.sensor()
    with session(server, sensor) as client:
        client.announce(1)
        assert client.answer() == 0
        client.send(b"one\n", b"two\n")
        client.acknowledged(2)
        assert server.data(sensor, "3") == b"one\ntwo\n"
        client.announce(3)
        assert client.answer() == 2
        client.send(b"three\n")
        assert client.answer() == 3
    assert server.data(sensor, "3") == b"one\ntwo\nthree\n"


def test_a_meta_type_is_acknowledged_too(server: Server) -> None:
    sensor = server.sensor()
    with session(server, sensor, type=254) as client:
        client.announce(7)
        client.write(packet(sensor, 2, META))
        client.send(b"one\n")
        client.acknowledged(7)
    assert server.data(sensor) == b"one\n"


def test_answers_are_few_where_packets_are_many(server: Server) -> None:
    sensor = server.sensor()
    with session(server, sensor) as client:
        client.announce(1)
        client.send(*numbered(1, 3000))
        client.acknowledged(3000)
        assert len(client.answers) < 300
    assert stored(server, sensor) == list(range(1, 3001))


def test_what_is_sent_again_is_stored_once(server: Server) -> None:
    """The first connection breaks before its client has read anything."""
    sensor = server.sensor()
    with session(server, sensor) as first:
        first.announce(1)
        first.send(*numbered(1, 50))
        wait_for(lambda: stored(server, sensor) == list(range(1, 51)))
    with session(server, sensor, first.spool) as second:
        second.announce(1)
        assert second.answer() == 50
        second.send(*numbered(1, 60))
        second.acknowledged(60)
    assert stored(server, sensor) == list(range(1, 61))


def test_a_replayed_connection_adds_nothing(server: Server) -> None:
    sensor = server.sensor()
    with session(server, sensor) as client:
        client.announce(1)
        client.send(*numbered(1, 100))
        client.acknowledged(100)
    for _ in range(2):
        with session(server, sensor, client.spool) as replay:
            replay.next = client.next
            replay.write(bytes(client.sent))
            assert replay.answer() == 100
            replay.announce(101)
            replay.acknowledged(100)
    assert stored(server, sensor) == list(range(1, 101))


@pytest.fixture
def other_server(tmp_path: Path, server: Server) -> Iterator[Server]:
    """Another d4-server with the same Redis."""
    (tmp_path / "other").mkdir()
    other = Server(tmp_path / "other", server.redis_path)
    other.daemon.start()
    yield other
    other.daemon.stop()
    other.redis.close()


@pytest.mark.parametrize("servers", ["one server", "two servers"])
def test_two_connections_at_once_do_no_harm(server: Server, other_server: Server, servers: str) -> None:
    """An old one that its client has given up, but that goes on all the same, and its successor."""
    sensor, spool = server.sensor(), uuid4()

    def send(client: Acknowledged, pace: int) -> None:
        client.announce(1)
        for first in range(1, 2001, pace):
            client.send(*numbered(first, first + pace - 1))
        client.acknowledged(2000)

    second = server if servers == "one server" else other_server
    with session(server, sensor, spool) as one, session(second, sensor, spool) as other:
        threads = [threading.Thread(target=send, args=each) for each in ((one, 4), (other, 5))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert one.answers[-1] == other.answers[-1] == 2000
    assert stored(server, sensor) == list(range(1, 2001))


def test_spools_of_a_sensor_are_counted_apart(server: Server) -> None:
    sensor = server.sensor()
    for _ in range(2):
        with session(server, sensor) as client:
            client.announce(1)
            assert client.answer() == 0
            client.send(*numbered(1, 2))
            client.acknowledged(2)
    assert stored(server, sensor) == [1, 2, 1, 2]


def test_half_a_line_waits_and_comes_again(server: Server) -> None:
    sensor = server.sensor()
    with session(server, sensor) as client:
        client.announce(1)
        client.send(b"a\n", b"b\nc", b"d")
        client.acknowledged(1)
        client.announce(4)
        assert client.answer() == 1, "what waits is not acknowledged"
        assert server.data(sensor, "3") == b"a\n"
    with session(server, sensor, client.spool) as client:
        client.announce(2)
        assert client.answer() == 1
        client.send(b"b\nc", b"d", b"e\nf\n", b"g\n")
        client.acknowledged(5)
    assert server.data(sensor, "3") == b"a\nb\ncde\nf\ng\n"


def test_chunks_of_a_byte_stream_are_acknowledged_as_they_come(server: Server) -> None:
    sensor = server.sensor()
    with session(server, sensor, type=1) as client:
        client.announce(1)
        client.send(b"\x00\n\x01", b"", b"\x02")
        client.acknowledged(3)
    assert server.entries(sensor, "1") == [b"\x00\n\x01", b"\x02"]


@pytest.mark.parametrize(
    "sooner", [{"d4server.ingest.KEYS_INTERVAL": 1, "d4server.acknowledged.HEARTBEAT": 1}]
)
def test_as_time_goes_by_sessions_are_answered_and_keys_looked_up(server: Server) -> None:
    """By the daemon itself, every second instead of every ten; test_server_time.py has the rest."""
    good, revoked = server.sensor(), server.sensor()
    with session(server, good) as kept, session(server, revoked) as ended:
        for client in (kept, ended):
            client.connection.settimeout(15)
            client.announce(1)
            client.acknowledged(0)
        server.command("sensors", "remove", str(revoked))
        ended.rest()
        assert kept.answer() == 0
    wait_for(lambda: f"refused sensor {revoked} at 127.0.0.1: not a known sensor" in server.log())


def test_a_gap_is_taken_and_logged(server: Server) -> None:
    sensor = server.sensor()
    with session(server, sensor) as client:
        client.announce(5)
        assert client.answer() == 4
        client.send(b"5\n")
        client.acknowledged(5)
    assert stored(server, sensor) == [5]
    assert f"sensor {sensor} left out packets 1 to 4 of its spool {client.spool}" in server.log()


# Whatever dies in between.


def test_a_server_that_was_killed_before_it_answered_stores_nothing_twice(server: Server) -> None:
    sensor = server.sensor()
    with session(server, sensor) as client:
        client.announce(1)
        client.send(*numbered(1, 500))
        wait_for(lambda: stored(server, sensor)[-1:] == [500])
        server.daemon.stop(signal.SIGKILL)
    server.daemon.start()
    with session(server, sensor, client.spool) as again:
        again.announce(1)
        assert again.answer() == 500
        again.send(*numbered(1, 510))
        again.acknowledged(510)
    assert stored(server, sensor) == list(range(1, 511))


def test_a_server_that_is_stopped_acknowledges_what_it_has_stored(server: Server) -> None:
    sensor, spool = server.sensor(), uuid4()
    reached = 0
    for _ in range(3):
        with session(server, sensor, spool) as client:
            client.announce(reached + 1)
            client.send(*numbered(reached + 1, reached + 2000))
            client.answer()
            server.daemon.stop()
            reached = client.rest()[-1]
            assert stored(server, sensor) == list(range(1, reached + 1)), "stored and acknowledged are one"
        server.daemon.start()
    assert reached > 0


def test_a_killed_redis_loses_and_doubles_nothing(server: Server, redis: Daemon) -> None:
    """Three times, with a batch under way that may have been stored although the answer never came."""
    sensor, last = server.sensor(), 9000
    reached = 0

    def kill() -> None:
        for part in range(3):
            wait_for(lambda: reached > part * 1000)  # noqa: B023
            redis.stop(signal.SIGKILL)
            redis.start()

    killing = threading.Thread(target=kill)
    killing.start()
    with session(server, sensor) as client:
        client.announce(1)
        for first in range(1, last + 1, 50):
            client.send(*numbered(first, first + 49))
            client.acknowledged(max(0, first - 1000))
            reached = client.answers[-1]
        client.acknowledged(last)
    killing.join()
    assert stored(server, sensor) == list(range(1, last + 1))
    assert "Redis does not store" in server.log()


def test_a_full_redis_holds_up_and_loses_nothing(server: Server) -> None:
    sensor, filling = server.sensor(), noise(1500 * 4000).encode()
    lines = [b"%d %s\n" % (number, filling[(number - 1) * 4000 : number * 4000]) for number in range(1, 1501)]
    server.redis.config_set("maxmemory", server.redis.info("memory")["used_memory"] + (2 << 20))
    with session(server, sensor) as client:
        client.connection.settimeout(60)
        client.announce(1)
        sending = threading.Thread(target=client.send, args=lines)
        sending.start()
        wait_for(lambda: "Redis does not store" in server.log())
        server.redis.config_set("maxmemory", 0)
        sending.join(30)
        client.acknowledged(len(lines))
    assert stored(server, sensor) == list(range(1, len(lines) + 1))


# What is refused, and who gets plain D4.


def test_what_is_no_session_is_refused_with_a_reason(server: Server) -> None:
    sensor = server.sensor()
    with session(server, sensor) as client:
        client.send(b"x\n")
        assert client.rest() == []
    wait_for(lambda: "type 3 came before a type 2 d4-session" in server.log())
    with session(server, sensor) as client:
        client.announce(1)
        client.send(b"1\n")
        client.announce(3)
        client.rest()
    wait_for(lambda: "a d4-session has seq 3; 2 is next" in server.log())


def test_a_session_without_its_protocol_is_refused_with_a_reason(server: Server) -> None:
    sensor = server.sensor()
    with server.connect() as connection:
        connection.sendall(packet(sensor, 2, b'{"type":"d4-session"}'))
        assert closed(connection)
    wait_for(lambda: "a d4-session needs ALPN d4-ack/1 in the TLS handshake" in server.log())


def test_the_protocol_is_agreed_on_after_a_reload_too(server: Server) -> None:
    assert server.daemon.process is not None
    server.daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "Reloaded" in server.log())
    sensor = server.sensor()
    with session(server, sensor) as client:
        client.announce(1)
        assert client.answer() == 0


def test_who_wants_to_enrol_is_served_and_does_not_hold_up_a_stop(server: Server) -> None:
    context = tls.client_context(server.ca, verify=True, alpn=(ALPN_ENROLL,))
    plain = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    with context.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
        assert b'"nonce"' in connection.recv(1000)
        status, seconds = end(server.daemon)
        assert closed(connection)
    assert (status, seconds < 5) == (0, True)


def test_how_far_a_spool_has_come_lies_with_its_sensor(server: Server) -> None:
    """Under the tag of its partition, so that one node of a Redis Cluster has both."""
    sensor = server.sensor()
    with session(server, sensor) as client:
        client.announce(1)
        client.send(*numbered(1, 3))
        client.acknowledged(3)
    key = f"d4:{{{partition(sensor)}}}:spool:{sensor}:{client.spool}"
    assert server.redis.get(key) == b"3"
