"""Who may come in, and how much may come: d4-server as a process, with limits that are soon reached."""

from __future__ import annotations

import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from acknowledging import Acknowledged
from serving import KEY, META, Server, at_end, closed, packet
from waiting import wait_for

from bench.memory import of_process
from d4common.packet import encode
from d4common.records import partition, stream
from d4server import sensors

SECRET = "a secret of the tests"


class Limited(Server):
    """A d4-server whose configuration a test writes."""

    def start(self, **limits: object) -> None:
        """Starts with these limits."""
        lines = "".join(f"{name} = {value}\n" for name, value in limits.items())
        self.config.write_text(f"{self.config.read_text()}[limits]\n{lines}")
        self.daemon.start()

    def share(self, secret: str) -> None:
        """Has sensors register by a shared secret."""
        text = self.config.read_text()
        self.config.write_text(
            text.replace("[d4]\n", f"[d4]\nregistration = shared-secret\nshared_secret = {secret}\n")
        )

    def connect_from(self, address: str) -> ssl.SSLSocket:
        """A connection from an address of this host."""
        context = ssl.create_default_context(cafile=self.ca)
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=10, source_address=(address, 0))
        # Or the kernel would hold back what is sent until the server has acknowledged what was.
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return context.wrap_socket(plain, server_hostname="127.0.0.1")

    def proved(self, uuid: UUID, address: str = "127.0.0.1") -> ssl.SSLSocket:
        """A connection whose first packet is stored."""
        connection = self.connect_from(address)
        line = b"%s" % uuid4().hex.encode()
        connection.sendall(packet(uuid, 3, line + b"\n"))
        wait_for(lambda: line in self.lines(uuid, "3"))
        return connection

    def memory(self) -> float:
        """Megabytes that the server has for itself."""
        assert self.daemon.process is not None
        return of_process(self.daemon.process.pid).private

    def refused(self, address: str = "127.0.0.1") -> bool:
        """Whether a connection is closed before it has said anything, without a word of TLS."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=10, source_address=(address, 0))
        with plain:
            return closed(plain)


@pytest.fixture
def server(tmp_path: Path, redis_socket: Path) -> Iterator[Limited]:
    """A d4-server, not yet started."""
    server = Limited(tmp_path, redis_socket)
    yield server
    server.daemon.stop()
    server.redis.close()


def test_too_many_of_one_address_are_closed_before_tls(server: Limited) -> None:
    server.start(address_connections=3)
    uuid = server.sensor()
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(server.proved(uuid))
        for _ in range(5):
            assert server.refused()
        with server.proved(uuid, "127.0.0.2"):
            pass
    wait_for(lambda: server.log().count("refused sensor unknown at 127.0.0.1: 3 connections") == 1)
    wait_for(lambda: comes_in(server, uuid))


def test_a_connection_that_falls_idle_holds_nothing_of_its_traffic(server: Limited) -> None:
    """It may have 100 KB after twice as much has come on it; most of that is OpenSSL's."""
    server.start()
    uuid = server.sensor()
    load = b"".join(packet(uuid, 3, b"x" * 24_999 + b"\n") for _ in range(8))
    with ExitStack() as stack:
        server.proved(uuid).close()
        before = server.memory()
        connections = [stack.enter_context(server.connect()) for _ in range(100)]
        for connection in connections:
            connection.sendall(load)
        wait_for(lambda: server.redis.xlen(stream("3", partition(uuid))) == 801)
        wait_for(lambda: server.memory() - before < 0.1 * len(connections), 15)


def test_a_reload_takes_limits_over(server: Limited) -> None:
    """For connections to come; those that are open stay."""
    server.start()
    uuid = server.sensor()
    with server.proved(uuid) as first, server.proved(uuid):
        server.config.write_text(server.config.read_text() + "connections = 2\n")
        assert server.daemon.process is not None
        server.daemon.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "Reloaded" in server.log())
        assert server.refused()
        first.sendall(packet(uuid, 3, b"still here\n"))
        wait_for(lambda: b"still here" in server.lines(uuid, "3"))


def test_too_many_in_all_are_closed_before_tls(server: Limited) -> None:
    server.start(connections=3)
    uuid = server.sensor()
    with ExitStack() as stack:
        for number in range(3):
            stack.enter_context(server.proved(uuid, f"127.0.0.{number + 1}"))
        assert server.refused("127.0.0.9")
    wait_for(lambda: "refused sensor unknown at 127.0.0.9: 3 connections are open" in server.log())


def test_too_many_in_a_minute_are_closed_before_tls(server: Limited) -> None:
    server.start(address_rate=3)
    uuid = server.sensor()
    for _ in range(3):
        server.proved(uuid).close()
    assert server.refused() and server.refused()
    server.proved(uuid, "127.0.0.2").close()
    assert server.log().count("refused sensor unknown at 127.0.0.1: 3 connections") == 1


def test_the_blacklist_has_uuids_addresses_and_networks(server: Limited) -> None:
    one, two = server.sensor(), server.sensor()
    server.start()
    with server.proved(one) as first, server.proved(two) as second, server.proved(two, "127.9.9.9") as third:
        for entry in (str(one), "127.9.0.0/16", "2001:db8::/32"):
            server.command("blacklist", "add", entry)
        assert server.command("blacklist", "list").split() == sorted(
            [str(one), "127.9.0.0/16", "2001:db8::/32"]
        )
        assert closed(first) and closed(third), "where they are connected already"
        second.sendall(packet(two, 3, b"still here\n"))
        wait_for(lambda: b"still here" in server.lines(two, "3"))
    with server.connect() as again:
        again.sendall(packet(one, 3, b"again\n"))
        assert closed(again)
    assert server.refused("127.9.1.1")
    for said in (f"{one} at 127.0.0.1: {one}", "unknown at 127.9.1.1: 127.9.0.0/16"):
        wait_for(lambda said=said: f"refused sensor {said} is on the blacklist" in server.log())
    server.command("blacklist", "remove", "127.9.0.0/16")
    server.command("blacklist", "remove", str(one))
    wait_for(lambda: comes_in(server, one))
    server.proved(two, "127.9.9.9").close()
    assert b"again" not in server.lines(one, "3")
    missing = server.attempt("blacklist", "remove", "192.0.2.1")
    assert missing.returncode == 1 and b"192.0.2.1 is not on the blacklist" in missing.stderr
    wrong = server.attempt("blacklist", "add", "192.0.2.1/24")
    assert wrong.returncode == 2 and b"192.0.2.0/24 is" in wrong.stderr


def comes_in(server: Limited, uuid: UUID) -> bool:
    """Whether what a sensor sends is stored before its connection is closed."""
    line = b"%s" % uuid4().hex.encode()
    with suppress(OSError), server.connect() as connection:
        connection.sendall(packet(uuid, 3, line + b"\n"))
        wait_for(lambda: line in server.lines(uuid, "3") or at_end(connection))
    return line in server.lines(uuid, "3")


def test_a_stranger_on_the_blacklist_costs_no_question_to_redis(server: Limited) -> None:
    uuid = uuid4()
    server.command("blacklist", "add", str(uuid))
    server.start()
    wait_for(lambda: not comes_in(server, uuid) and "is on the blacklist" in server.log())
    asked = server.redis.info("commandstats").get("cmdstat_hmget", {"calls": 0})["calls"]
    for _ in range(5):
        with server.connect() as connection:
            connection.sendall(packet(uuid, 3, b"x\n"))
            assert closed(connection)
    assert server.redis.info("commandstats").get("cmdstat_hmget", {"calls": 0})["calls"] == asked


def test_a_sensor_that_is_kicked_may_come_again(server: Limited) -> None:
    kicked, other = server.sensor(), server.sensor()
    server.start()
    with server.proved(kicked) as one, server.proved(other) as two:
        server.command("sensors", "kick", str(kicked), "--for", "4s")
        began = time.monotonic()
        assert closed(one)
        assert not comes_in(server, kicked)
        wait_for(lambda: comes_in(server, kicked))
        assert time.monotonic() - began > 1
        two.sendall(packet(other, 3, b"still here\n"))
        wait_for(lambda: b"still here" in server.lines(other, "3"))
    assert f"refused sensor {kicked} at 127.0.0.1: `d4-server sensors kick`" in server.log()


def test_one_connection_of_a_type_closes_the_one_before(server: Limited) -> None:
    """The newer stays: the older may be half open. Other types and other sensors have theirs."""
    server.start(one_connection="yes")
    uuid, other = server.sensor(), server.sensor()
    with server.proved(uuid) as old, server.proved(other) as others, server.connect() as meta:
        meta.sendall(packet(uuid, 2, META) + packet(uuid, 254, b"x\n"))
        wait_for(lambda: server.lines(uuid) == [b"x"])
        old.sendall(packet(uuid, 3, b"half"))
        with server.proved(uuid) as new:
            assert closed(old)
            for sensor, connection in ((uuid, new), (other, others)):
                connection.sendall(packet(sensor, 3, b"still here\n"))
                wait_for(lambda sensor=sensor: b"still here" in server.lines(sensor, "3"))
        meta.sendall(packet(uuid, 254, b"y\n"))
        wait_for(lambda: server.lines(uuid) == [b"x", b"y"])
    assert b"half" in server.lines(uuid, "3"), "what had come is kept"


def test_many_connections_of_a_sensor_are_the_default(server: Limited) -> None:
    server.start()
    uuid = server.sensor()
    with server.proved(uuid) as one, server.proved(uuid):
        one.sendall(packet(uuid, 3, b"still here\n"))
        wait_for(lambda: b"still here" in server.lines(uuid, "3"))


def test_one_connection_loses_nothing_of_an_acknowledged_session(server: Limited) -> None:
    server.start(one_connection="yes")
    uuid = server.sensor()
    with Acknowledged(server.port, server.ca, uuid) as old:
        old.announce(1)
        old.send(b"1\n", b"half")
        old.acknowledged(1)
        with Acknowledged(server.port, server.ca, uuid, old.spool) as new:
            new.announce(2)
            new.send(b"half", b" whole\n")
            new.acknowledged(3)
            old.rest()
    assert server.lines(uuid, "3") == [b"1", b"half whole"]


def test_whoever_has_the_shared_secret_registers(server: Limited) -> None:
    server.share(SECRET)
    server.start()
    uuid, stranger = uuid4(), uuid4()
    for key in (b"wrong", KEY):
        with server.connect() as connection:
            connection.sendall(packet(stranger, 3, b"x\n", key=key))
            assert closed(connection)
    assert not server.redis.exists(sensors.record_of(stranger)), (
        "nothing is written before the HMAC was right"
    )
    with server.connect() as connection:
        connection.sendall(packet(uuid, 3, b"x\n", key=SECRET.encode()))
        wait_for(lambda: server.lines(uuid, "3") == [b"x"])
    assert server.redis.hget(sensors.record_of(uuid), "source") == b"shared-secret"
    assert f"{uuid}  approved  shared-secret  " in server.command("sensors", "list")
    server.command("sensors", "revoke", str(uuid))
    with server.connect() as connection:
        connection.sendall(packet(uuid, 3, b"y\n", key=SECRET.encode()))
        assert closed(connection)
    assert server.lines(uuid, "3") == [b"x"]


def test_an_approved_sensor_keeps_its_own_key(server: Limited) -> None:
    server.share(SECRET)
    server.start()
    uuid = server.sensor()
    with server.connect() as connection:
        connection.sendall(packet(uuid, 3, b"x\n", key=SECRET.encode()))
        assert closed(connection)
    server.proved(uuid).close()


def test_the_secret_alone_lets_nobody_in(server: Limited) -> None:
    """Only the mode makes it good."""
    server.share(SECRET)
    server.config.write_text(server.config.read_text().replace("registration = shared-secret\n", ""))
    server.start()
    with server.connect() as connection:
        connection.sendall(packet(uuid4(), 3, b"x\n", key=SECRET.encode()))
        assert closed(connection)


def test_replayed_packets_are_dropped_where_that_is_wanted(server: Limited) -> None:
    server.start(replay_window="60s")
    uuid = server.sensor()
    one, two = packet(uuid, 3, b"one\n"), packet(uuid, 3, b"two\n")
    with server.connect() as connection:
        connection.sendall(one + two + one)
        connection.sendall(two + packet(uuid, 3, b"three\n"))
        wait_for(lambda: server.lines(uuid, "3") == [b"one", b"two", b"three"])
    with server.connect() as connection:
        connection.sendall(one + packet(uuid, 3, b"four\n"))
        wait_for(lambda: server.lines(uuid, "3") == [b"one", b"two", b"three", b"four"])


def test_replayed_packets_are_stored_otherwise(server: Limited) -> None:
    server.start()
    uuid = server.sensor()
    with server.connect() as connection:
        connection.sendall(packet(uuid, 3, b"one\n") * 3)
        wait_for(lambda: server.lines(uuid, "3") == [b"one"] * 3)


@pytest.mark.parametrize(("off", "said"), [(-7200, "-7200 s"), (7200, "+7200 s"), (-30, ""), (30, "")])
def test_a_clock_that_is_off_is_told_once(server: Limited, off: int, said: str) -> None:
    server.start(clock_tolerance="1h")
    uuid = server.sensor()
    with server.connect() as connection:
        for number in range(3):
            connection.sendall(encode(KEY, uuid.bytes, 3, b"%d\n" % number, int(time.time()) + off))
        wait_for(lambda: server.lines(uuid, "3") == [b"0", b"1", b"2"])
    told = f"sensor {uuid} at 127.0.0.1: the time of its packets is off by"
    assert server.log().count(told) == bool(said)


def test_a_sensor_that_is_too_fast_is_slowed_down_and_loses_nothing(server: Limited) -> None:
    """Over all of its connections; others are not slower for it."""
    server.start(sensor_rate="500K")
    fast, other = server.sensor(), server.sensor()
    lines = [b"%d".ljust(1000) % number for number in range(1000)]
    load = [packet(fast, 3, line + b"\n") for line in lines]
    began = time.monotonic()
    with server.connect() as one, server.connect() as two:
        senders = [threading.Thread(target=each.sendall, args=[b"".join(load)]) for each in (one, two)]
        for sender in senders:
            sender.start()
        before = time.monotonic()
        server.proved(other).close()
        assert time.monotonic() - before < 1
        wait_for(lambda: len(server.lines(fast, "3")) == 2000, 20)
        for sender in senders:
            sender.join()
    assert sorted(server.lines(fast, "3")) == sorted(lines + lines)
    assert time.monotonic() - began > 2_000_000 / (500 << 10) - 2, (
        "a second's worth is free, and not waited for"
    )


def test_sensors_at_one_address_share_its_rate(server: Limited) -> None:
    """Strangers there too; who is elsewhere is not slower for it."""
    server.start(address_bytes="500K")
    one, two, other = (server.sensor() for _ in range(3))
    load = b"".join(packet(one, 3, b"%d".ljust(1000) % number + b"\n") for number in range(1000))
    began = time.monotonic()
    with server.connect_from("127.0.0.2") as first, server.connect_from("127.0.0.2") as second:
        sender = threading.Thread(target=first.sendall, args=[load])
        sender.start()
        before = time.monotonic()
        server.proved(other).close()
        assert time.monotonic() - before < 1
        second.sendall(packet(two, 3, b"x" * 99_999 + b"\n") * 2)
        wait_for(lambda: len(server.lines(one, "3")) == 1000 and len(server.lines(two, "3")) == 2, 20)
        sender.join()
    assert time.monotonic() - began > 1_200_000 / (500 << 10) - 1.2
