"""Several workers: who serves, what one that dies or hangs costs, reload, stop, metrics."""

from __future__ import annotations

import json
import operator
import os
import signal
import socket
import ssl
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trustme
from acknowledging import Acknowledged
from serving import Server, closed, end, packet
from waiting import wait_for

from d4common import metrics
from d4common.queue_settings import settings_of
from demo.chain import Daemon, environment

BURST = 100
"""Connections at once."""


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the keeper makes its directory; one that is killed leaves it behind."""
    # Not under tmp_path: the path of a Unix socket has room for about a hundred bytes.
    with TemporaryDirectory(prefix="d4-") as name:
        monkeypatch.setenv("TMPDIR", name)
        yield Path(name)


@pytest.fixture
def server(tmp_path: Path, redis: Daemon, place: Path) -> Iterator[Server]:
    """A running d4-server with two workers; it leaves nothing running, and no traceback in its log."""
    server = Server(tmp_path, tmp_path / "redis.sock")
    with server.config.open("a") as file:
        file.write("workers = 2\n")
    server.daemon.start()
    try:
        yield server
    finally:
        left = workers(server)
        server.daemon.stop()
        server.redis.close()
    wait_for(lambda: not any(map(alive, left.values())))
    assert "Traceback" not in server.log()


def workers(server: Server) -> dict[int, int]:
    """The processes of the workers that run, by number."""
    keeper = server.daemon.process
    if keeper is None or keeper.poll() is not None:
        return {}
    found = {}
    for process in map(int, Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children").read_text().split()):
        with suppress(OSError, ValueError):
            arguments = Path(f"/proc/{process}/cmdline").read_text().split("\0")
            found[int(arguments[arguments.index("worker") + 1])] = process
    return found


def alive(process: int) -> bool:
    """Whether a process runs that is no child of this one."""
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@contextmanager
def only(server: Server, number: int) -> Iterator[None]:
    """This worker takes all connections meanwhile."""
    others = [process for each, process in workers(server).items() if each != number]
    for process in others:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in others:
            os.kill(process, signal.SIGCONT)


def tell(server: Server, number: signal.Signals) -> None:
    """Sends a signal to all workers."""
    for process in workers(server).values():
        os.kill(process, number)


def connections(server: Server) -> Counter[str]:
    """How many each worker has."""
    found: Counter[str] = Counter()
    for labels, value in metrics.fetch(server.config.parent / "metrics.sock").get("d4_connections", []):
        found[labels["worker"]] += int(value)
    return found


def reload(server: Server) -> None:
    """Has the server reload."""
    assert server.daemon.process is not None
    server.daemon.process.send_signal(signal.SIGHUP)


class Resending(threading.Thread):
    """A sensor that sends its lines' numbers, and what was not acknowledged again on the next connection."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.sensor = server.sensor()
        self.breaks = 0
        self.stored = 0
        self._enough = threading.Event()
        self._server = server
        self._client = Acknowledged(server.port, server.ca, self.sensor)

    def run(self) -> None:
        while not self._done():
            self.breaks += 1
            self._client.connection.close()
            self._client = Acknowledged(self._server.port, self._server.ca, self.sensor, self._client.spool)
        self._client.connection.close()

    def end(self) -> list[int]:
        """Has it come to an end, and says what the server has of it."""
        self._enough.set()
        self.join(30)
        return list(map(int, self._server.lines(self.sensor, "3")))

    def _done(self) -> bool:
        """Sends until it is enough. Whether the connection has lasted for so long."""
        with suppress(OSError, EOFError):
            self._client.announce(self.stored + 1)
            while not self._enough.is_set():
                self._client.send(*(b"%d\n" % (self._client.next + each) for each in range(4)))
                self._client.acknowledged(self._client.next - 1)
                self.stored = self._client.answers[-1]
            return True
        return False


def test_a_worker_that_is_killed_costs_its_own_connections_alone(server: Server) -> None:
    sensors = []
    for number in (1, 2):
        with only(server, number):
            sensors += [Resending(server) for _ in range(3)]
    for sensor in sensors:
        sensor.start()
    wait_for(lambda: all(sensor.stored for sensor in sensors))
    killed = workers(server)[1]
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: all(sensor.breaks for sensor in sensors[:3]))
    before = [sensor.stored for sensor in sensors]
    wait_for(lambda: all(map(operator.lt, before, (sensor.stored for sensor in sensors))))
    for sensor in sensors:
        assert sensor.end() == list(range(1, sensor.stored + 1))
    assert [sensor.breaks for sensor in sensors] == [1, 1, 1, 0, 0, 0]
    wait_for(lambda: set(connections(server)) == {"1", "2"}, 20)
    assert workers(server)[1] != killed
    with only(server, 1), server.connect() as connection:
        connection.sendall(packet(sensors[0].sensor, 8, b"again\n"))
        wait_for(lambda: server.lines(sensors[0].sensor, "8") == [b"again"])
    assert "worker 1 ended by SIGKILL; starting another" in server.log()


@pytest.fixture
def watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is under one, and so are its workers."""
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")


def test_a_worker_that_hangs_is_replaced(watchdog: None, server: Server) -> None:
    stuck = workers(server)[2]
    os.kill(stuck, signal.SIGSTOP)
    wait_for(lambda: not alive(stuck))
    wait_for(lambda: "2" in connections(server), 20)
    assert "worker 2 does not answer, ending it" in server.log()
    assert "worker 2 ended by SIGABRT; starting another" in server.log()


def test_a_reload_reaches_all_workers_and_drops_no_connection(server: Server, tmp_path: Path) -> None:
    sensor, kept = server.sensor(), []
    for number in (1, 2):
        with only(server, number):
            kept.append(server.connect())
            kept[-1].sendall(packet(sensor, 3, b"before\n"))
            wait_for(lambda: len(server.lines(sensor, "3")) == len(kept))
    made = trustme.CA().issue_cert("127.0.0.1")
    (tmp_path / "tls" / "server.pem").write_bytes(made.cert_chain_pems[0].bytes())
    (tmp_path / "tls" / "server.key").write_bytes(made.private_key_pem.bytes())
    reload(server)
    wait_for(lambda: server.log().count("Reloaded") == 3)
    for number in (1, 2):
        with only(server, number):
            shown = ssl.get_server_certificate(("127.0.0.1", server.port))
        assert shown.split() == made.cert_chain_pems[0].bytes().decode().split()
    with server.config.open("a") as file:
        file.write("tls_prot = 1\n")
    reload(server)
    wait_for(lambda: "the old configuration is in force" in server.log())
    for connection in kept:
        connection.sendall(packet(sensor, 3, b"after\n"))
    wait_for(lambda: server.lines(sensor, "3").count(b"after") == 2)
    for connection in kept:
        connection.close()
    assert server.log().count("not reloaded") == 1, "the workers have not heard of it"


def test_a_stop_stores_and_acknowledges_what_came_to_any_worker(server: Server, place: Path) -> None:
    started = workers(server)
    with ExitStack() as stack:
        clients = []
        for number in (1, 2):
            with only(server, number):
                clients.append(stack.enter_context(Acknowledged(server.port, server.ca, server.sensor())))
                clients[-1].announce(1)
                assert clients[-1].answer() == 0
        for client in clients:
            client.send(*(b"%d\n" % number for number in range(200)))
            client.acknowledged(1)
        status, _ = end(server.daemon)
        assert status == 0
        for client in clients:
            client.rest()
            assert client.answers[-1] == len(server.lines(client.sensor, "3"))
    assert not any(map(alive, started.values()))
    assert not [*place.iterdir()]


def test_a_stop_does_not_wait_for_workers_that_do_not_serve_yet(server: Server) -> None:
    assert end(server.daemon)[0] == 0
    command = [*server.base, "run"]
    server.daemon.process = subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL)
    wait_for(lambda: len(workers(server)) == 2)
    started = workers(server)
    assert end(server.daemon)[0] == 0
    assert not any(map(alive, started.values()))


def test_workers_whose_keeper_is_killed_stop_in_their_order(server: Server) -> None:
    started, sensor = workers(server), server.sensor()
    with server.connect() as connection:
        connection.sendall(packet(sensor, 3, b"whole\nhalf"))
        wait_for(lambda: server.lines(sensor, "3") == [b"whole"])
        end(server.daemon, signal.SIGKILL)
        assert closed(connection)
    wait_for(lambda: not any(map(alive, started.values())))
    assert server.lines(sensor, "3") == [b"whole", b"half"]


def test_a_burst_of_connections_is_spread(server: Server) -> None:
    """On a machine that is busy, one worker may come late to a burst, but not to each."""
    assert any(min(_burst(server).values()) >= BURST // 4 for _ in range(3))


def _burst(server: Server) -> Counter[str]:
    """How many each worker gets, all of which have waited for it."""
    address, context = ("127.0.0.1", server.port), ssl.create_default_context(cafile=server.ca)
    wait_for(lambda: not connections(server).total())
    with ExitStack() as stack:
        tell(server, signal.SIGSTOP)
        waiting = [stack.enter_context(socket.create_connection(address, timeout=10)) for _ in range(BURST)]
        tell(server, signal.SIGCONT)
        for each in waiting:
            stack.enter_context(context.wrap_socket(each, server_hostname="127.0.0.1"))
        wait_for(lambda: connections(server).total() == BURST)
        return connections(server)


def test_metrics_and_status_are_those_of_all_workers(server: Server) -> None:
    place = server.config.parent / "metrics.sock"
    with ExitStack() as stack:
        for number in (1, 2):
            with only(server, number):
                connection = stack.enter_context(server.connect())
                sensor = server.sensor()
                connection.sendall(packet(sensor, 3, b"x\n") * number)
                wait_for(lambda: len(server.lines(sensor, "3")) == number)  # noqa: B023
        found = metrics.fetch(place)
        assert found["d4_workers"] == [({}, 2)]
        assert [labels for labels, _ in found["d4_redis_up"]] == [{}]
        assert found["d4_packets_total"] == [
            ({"type": "3", "worker": "1"}, 1),
            ({"type": "3", "worker": "2"}, 2),
        ]
        told = json.loads(server.command("status", "--json"))["server"]
        assert told["connections"] == {"plain": 2, "acknowledged": 0, "enrolment": 0}
        assert (told["sensors"], told["workers"]) == (2, 2)
        with only(server, 1):
            assert metrics.fetch(place)["d4_sensors_connected"] == [({"worker": "1"}, 1)]
            tell(server, signal.SIGSTOP)
            shown = server.command("status")
        assert shown.startswith("server       0 workers, 0 sensors connected")
        tell(server, signal.SIGCONT)


def test_each_worker_follows_what_administrators_decide(server: Server) -> None:
    """What is done once, as dropping what is beyond caps, is counted once."""
    with ExitStack() as stack:
        connections = []
        for number in (1, 2):
            with only(server, number):
                connections.append(stack.enter_context(server.connect()))
                sensor = server.sensor()
                connections[-1].sendall(packet(sensor, 3, b"x\n"))
                wait_for(lambda: server.lines(sensor, "3"))  # noqa: B023
        server.command("types", "refuse", "3")
        assert all(map(closed, connections))
    server.command("queues", "create", "3", "--name", "q")
    server.command("queues", "cap", "q", "--entries", "1")
    wait_for(lambda: server.redis.hget(settings_of("q"), "dropped") == b"1")
