"""d4-sensor as a process: a virtual interface in a namespace of the test's own, and a real d4-server."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import frames
import pytest
from conftest import Certificates
from serving import Sensor, Server, end
from spooling import opened, waiting
from waiting import TIMEOUT, wait_for

from d4common.client import LONGEST_PAUSE
from demo.chain import PYTHON, TREE, Daemon, environment
from demo.make_sample import SAMPLE

NAMESPACE = f"d4-sensor-test-{os.getpid()}"
SOONER = {"d4sensor.daemon.STATUS_INTERVAL": 0.5, "d4sensor.daemon.REOPEN_INTERVAL": 0.5}
"""Seconds, instead of five."""

live = pytest.mark.skipif(os.geteuid() != 0, reason="capturing on an interface needs root")


def ip(command: str) -> str:
    """Runs ip(8); what it prints."""
    return subprocess.run(["ip", *command.split()], check=True, capture_output=True, text=True).stdout


def in_namespace(command: list[str]) -> list[str]:
    """A command to be run in the namespace."""
    return ["ip", "netns", "exec", NAMESPACE, *command]


@contextmanager
def pair(name: str) -> Iterator[str]:
    """Two interfaces, NAME and NAME-peer, each of which hears what is sent on the other."""
    ip(f"-n {NAMESPACE} link add {name} type veth peer name {name}-peer")
    try:
        for end in (name, f"{name}-peer"):
            ip(f"-n {NAMESPACE} link set {end} addrgenmode none up")
        # Until the kernel has seen that both ends are there, it drops what is sent.
        for end in (name, f"{name}-peer"):
            wait_for(lambda: " UP " in ip(f"-n {NAMESPACE} -brief link show dev {end}"))  # noqa: B023
        yield name
    finally:
        ip(f"-n {NAMESPACE} link delete {name}")


@pytest.fixture(scope="module")
def namespace() -> Iterator[None]:
    """A network of the test's own, in which the interface ``left`` is."""
    try:
        ip(f"netns add {NAMESPACE}")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespace can be made here: {error}")
    try:
        ip(f"-n {NAMESPACE} link set lo up")
        with pair("left"):
            yield
    finally:
        ip(f"netns delete {NAMESPACE}")


def send(*packets: bytes, name: str = "left-peer") -> None:
    """Sends frames on an interface of the namespace."""
    code = (
        "import socket, sys\n"
        "with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:\n"
        "    link.bind((sys.argv[1], 0))\n"
        "    for packet in sys.argv[2:]:\n"
        "        link.send(bytes.fromhex(packet))\n"
    )
    command = [PYTHON, "-c", code, name, *(packet.hex() for packet in packets)]
    subprocess.run(in_namespace(command), check=True)


def bad(last: int, sport: int = 4000) -> bytes:
    """A connection to 203.0.113.LAST."""
    return frames.syn("10.0.0.1", sport, f"203.0.113.{last}", 443)


@pytest.fixture
def server(tmp_path: Path, redis_socket: Path) -> Iterator[Server]:
    """A d4-server, not yet started; in the end its log has no traceback."""
    server = Server(tmp_path, redis_socket)
    yield server
    server.daemon.stop()
    server.redis.close()
    assert "Traceback" not in (server.log() if server.daemon.log.exists() else "")


@pytest.fixture
def sensor(namespace: None, tmp_path: Path, server: Server) -> Iterator[Sensor]:
    """A sensor in the namespace, not yet started; its server, not yet either, is there too."""
    server.daemon = Daemon("server", in_namespace([*server.base, "run"]), tmp_path)
    sensor = Sensor(tmp_path, server, SOONER)
    sensor.daemon = Daemon("sensor", in_namespace([*sensor.base, "run"]), tmp_path)
    yield sensor
    sensor.daemon.stop()
    assert "Traceback" not in sensor.log()


@live
def test_what_it_sees_arrives(sensor: Sensor) -> None:
    sensor.trust(sensor.server.ca)
    sensor.server.daemon.start()
    sensor.daemon.start()
    send(bad(5), bad(6), frames.ping("10.0.0.1", "203.0.113.5"))
    wait_for(lambda: len(sensor.arrived()) == 2)
    first, second = sensor.arrived()
    assert (first.sensor, first.src_ip, first.src_port, first.proto) == ("vm", "10.0.0.1", "4000", "TCP")
    assert (second.trail, second.proto) == ("203.0.113.5", "ICMP")
    assert end(sensor.daemon)[0] == 0
    assert "lost" not in sensor.log()


@live
def test_what_it_held_back_is_sent_at_the_stop(sensor: Sensor) -> None:
    sensor.trust(sensor.server.ca)
    sensor.server.daemon.start()
    sensor.daemon.start()
    send(*(bad(5, 4000 + n) for n in range(8)))
    wait_for(lambda: len(sensor.arrived()) == 3)
    assert end(sensor.daemon)[0] == 0
    wait_for(lambda: len(sensor.arrived()) == 4)
    summary = sensor.arrived()[-1]
    assert summary.src_port == "4003,4004,4005,4006,4007"
    assert summary.reference.endswith("(+5 sightings)")


@live
def test_what_is_missing_at_the_start_may_come(sensor: Sensor, certificates: Certificates) -> None:
    """First there is no CA, then a wrong one, then no server, and nothing is lost meanwhile."""
    timeout = LONGEST_PAUSE + 10  # the longer it has been without a server, the later it tries again
    sensor.server.daemon.start()
    sensor.daemon.start()
    wait_for(lambda: f"{sensor.ca} cannot be read: No such file" in sensor.log())
    send(bad(5, 1))
    sensor.trust(certificates.other_ca)
    wait_for(lambda: "its certificate is not trusted" in sensor.log(), timeout)
    send(bad(5, 2))
    sensor.server.daemon.stop()
    sensor.trust(sensor.server.ca)
    wait_for(lambda: "Connection refused" in sensor.log(), timeout)
    send(bad(5, 3))
    sensor.server.daemon.start()
    wait_for(lambda: [found.src_port for found in sensor.arrived()] == ["1", "2", "3"], timeout)
    destination = f"127.0.0.1:{sensor.server.port}"
    for words in ("No such file", "is not trusted", "Connection refused"):
        assert sensor.log().count(words) == 1, "each is said once, however often it is tried"
    assert f"connected to {destination}" in sensor.log()


@live
def test_a_reload_takes_new_trails_and_leaves_broken_ones(sensor: Sensor) -> None:
    sensor.trust(sensor.server.ca)
    sensor.server.daemon.start()
    sensor.daemon.start()
    sensor.trails.write_text("203.0.113.6\n")
    sensor.reload()
    wait_for(lambda: sensor.log().count("for 1 trails") == 2)
    send(bad(5), bad(6))
    wait_for(lambda: sensor.seen() == ["203.0.113.6"])
    text = sensor.config.read_text()
    for number, broken in enumerate(("[trails]\npath = /nowhere/trails\n", "[capture]\nsnaplne = 3\n"), 1):
        sensor.config.write_text(text + broken)
        sensor.reload()
        wait_for(lambda: sensor.log().count("the old trails stay") == number)  # noqa: B023
    sensor.config.write_text(text)
    sensor.trails.write_text("# nothing\n")
    sensor.reload()
    wait_for(lambda: sensor.log().count("the old trails stay") == 3)
    send(bad(6, sport=4001))
    wait_for(lambda: sensor.seen() == ["203.0.113.6"] * 2)


@live
def test_an_interface_may_come_go_and_come_again(sensor: Sensor) -> None:
    sensor.config.write_text(sensor.config.read_text().replace("interface = left", "interface = left late"))
    sensor.trust(sensor.server.ca)
    sensor.server.daemon.start()
    sensor.daemon.start()
    wait_for(lambda: "interface late: there is no such interface" in sensor.log())
    for times in (1, 2):
        with pair("late"):
            wait_for(lambda: sensor.log().count("interface late is being watched") == times, 15)  # noqa: B023
            send(bad(5, times), name="late-peer")
            wait_for(lambda: len(sensor.arrived()) == times)  # noqa: B023
    send(bad(5, 9))
    wait_for(lambda: [found.src_port for found in sensor.arrived()] == ["1", "2", "9"])


@live
def test_what_waits_at_a_stop_is_sent_after_the_next_start(sensor: Sensor) -> None:
    sensor.trust(sensor.server.ca)
    sensor.daemon.start()
    wait_for(lambda: "Connection refused" in sensor.log())
    send(bad(5, 1), bad(5, 2))
    wait_for_status(sensor, "2 events, 2 waiting, 0 discarded")
    status, seconds = end(sensor.daemon)
    assert (status, seconds < 2) == (0, True)
    assert "INFO: 2 events wait in the spool for the next start" in sensor.log()
    assert "maltrail.db: 2 records in " in sensor.command("spool", "status")
    sensor.server.daemon.start()
    sensor.daemon.start()
    send(bad(5, 3))
    wait_for(lambda: [found.src_port for found in sensor.arrived()] == ["1", "2", "3"])
    wait_for_status(sensor, "1 events, 0 waiting, 0 discarded")
    assert end(sensor.daemon)[0] == 0
    assert "lost" not in sensor.log() and sensor.log().count("wait in the spool") == 1


@live
def test_what_was_committed_before_a_kill_arrives_once(sensor: Sensor) -> None:
    sensor.config.write_text(sensor.config.read_text() + "[events]\nburst = 1000000\n")
    sensor.trust(sensor.server.ca)
    sensor.server.daemon.start()
    ports, committed = iter(range(1, 65536)), set()
    for _ in range(3):
        sensor.daemon.start()
        before = len(sensor.arrived())
        while len(sensor.arrived()) == before:
            send(*(bad(5, next(ports)) for _ in range(200)))
        sensor.daemon.stop(signal.SIGKILL)
        committed |= set(waiting_lines(sensor)) | set(sensor.server.lines(sensor.uuid))
    sensor.daemon.start()
    wait_for(lambda: committed <= set(sensor.server.lines(sensor.uuid)))
    assert len(sensor.server.lines(sensor.uuid)) == len(committed), "each exactly once"


def waiting_lines(sensor: Sensor) -> list[bytes]:
    """The lines in the spool of a sensor that does not run."""
    with closing(opened(sensor.spool)) as spool:
        return b"".join(packet.payload for packet in waiting(spool)).splitlines()


@live
def test_events_wait_in_memory_while_the_disk_takes_none(sensor: Sensor) -> None:
    sensor.spool.parent.write_text("a file where the directory should be")
    sensor.trust(sensor.server.ca)
    sensor.server.daemon.start()
    sensor.daemon.start()
    send(bad(5))
    wait_for_status(
        sensor, f"{sensor.spool.parent} cannot be read and written now: File exists; not connected"
    )
    sensor.spool.parent.unlink()
    wait_for(lambda: len(sensor.arrived()) == 1)
    wait_for_status(
        sensor, "1 events, 0 waiting, 0 discarded; 0 packets dropped by the kernel; connected to "
    )
    assert sensor.log().count("cannot be read and written now") == 1
    assert "the spool can be written again" in sensor.log()


@live
def test_a_spool_that_is_damaged_is_said_and_keeps_no_event_from_the_server(sensor: Sensor) -> None:
    sensor.spool.parent.mkdir()
    sensor.spool.write_bytes(b"not a spool at all\n" * 5000)
    sensor.trust(sensor.server.ca)
    sensor.server.daemon.start()
    sensor.daemon.start()
    send(bad(5))
    wait_for(lambda: len(sensor.arrived()) == 1)
    assert f"ERROR: {sensor.spool} is damaged" in sensor.log()


@live
def test_a_spool_that_was_restored_is_refused_until_it_is_renewed(sensor: Sensor, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    sensor.config.write_text(sensor.config.read_text() + "[events]\nburst = 1000000\n")  # none is held back
    sensor.trust(sensor.server.ca)
    sensor.server.daemon.start()
    for ports in ([1], [2], [3, 4]):
        sensor.daemon.start()
        for port in ports:
            send(bad(5, port))
            wait_for(lambda: port in map(int, seen_ports(sensor)))  # noqa: B023
        sensor.daemon.stop()
        if ports == [1]:
            shutil.copyfile(sensor.spool, copy)
    shutil.copyfile(copy, sensor.spool)
    sensor.daemon.start()
    wait_for(lambda: "acknowledges packets up to 4, but 1 is the last that was sent" in sensor.log())
    for port in (5, 6, 7, 8):
        send(bad(5, port))
    wait_for_status(sensor, "4 events, 4 waiting")
    sensor.daemon.stop()
    sensor.daemon.start()  # which alone changes nothing, though there are more packets than the server has
    wait_for(lambda: sensor.log().count(f"run `d4-sensor spool renew {sensor.spool}`, and start it") == 2)
    sensor.daemon.stop()
    assert "is a new spool now; 4 records in it will be sent" in sensor.command(
        "spool", "renew", str(sensor.spool)
    )
    sensor.daemon.start()
    wait_for(lambda: seen_ports(sensor) == ["1", "2", "3", "4", "5", "6", "7", "8"])


def seen_ports(sensor: Sensor) -> list[str]:
    """The source ports of the events that have arrived."""
    return [found.src_port for found in sensor.arrived()]


@live
def test_a_spool_that_another_process_has_ends_the_start(sensor: Sensor) -> None:
    sensor.spool.parent.mkdir()
    with closing(opened(sensor.spool)):
        sensor.daemon.start()  # it is ready before it has the spool
        assert sensor.daemon.process is not None
        assert sensor.daemon.process.wait(10) == 1
    assert f"{sensor.spool} is in use by another process" in sensor.log()


def wait_for_status(sensor: Sensor, words: str) -> None:
    """Hears what the daemon tells systemd, until it has these words."""
    path = sensor.daemon.log.with_name("sensor.notify")
    path.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(path))
        heard.settimeout(TIMEOUT)
        while words not in heard.recv(4096).decode():
            pass


def test_a_broken_configuration_starts_nothing_and_says_all(tmp_path: Path, server: Server) -> None:
    sensor = Sensor(tmp_path, server)
    sensor.config.write_text("[d4]\nsnaplen = 0\n[capture]\ninterfaces = left\nbuffer = much\n")
    for words in (["run"], ["config", "check"], ["config", "show"], ["replay", str(SAMPLE)]):
        result = sensor.attempt(*words)
        assert (result.returncode, result.stdout) == (78, "")
        for problem in (
            f"{sensor.config}:2: [d4] snaplen = 0",
            f"{sensor.config}:4: [capture] has no option interfaces; did you mean interface?",
            f"{sensor.config}:5: [capture] buffer = much",
        ):
            assert problem in result.stderr
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("[trails]\npath = /nowhere/trails\n", "/nowhere/trails"), ("", "uuid and key are not set")],
)
def test_what_it_cannot_do_without_ends_the_start(
    tmp_path: Path, server: Server, text: str, complaint: str
) -> None:
    path = tmp_path / "other.conf"
    path.write_text(text or f"[trails]\npath = {TREE}/d4-sensor/trails\n")
    command = [PYTHON, "-m", "d4sensor", "--config", str(path), "run"]
    result = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=30)
    assert result.returncode == 1
    assert complaint in result.stderr and "Traceback" not in result.stderr
