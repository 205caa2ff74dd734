"""`d4-sensor replay`: printed, sent to a real d4-server, and what cannot be read."""

from __future__ import annotations

import json
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import Sensor, Server

from demo.chain import TREE, environment
from demo.make_sample import SAMPLE

EXPECTED = (TREE / "demo" / "expected.txt").read_text().splitlines()
# What one pass over the sample does not show, since it has too few failed lookups.
SECOND_PASS = (
    "10.20.30.1 53 10.20.30.17 40106 UDP DNS (deb,packages,www).debian.org "
    '"excessive no such domain (suspicious)" (heuristic)'
)
TRAILS = [word for path in ("d4-sensor/trails", "demo/trails") for word in ("--trails", str(TREE / path))]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, redis_server: Path) -> Iterator[Sensor]:
    """A sensor with its server, which is not started."""
    directory = tmp_path_factory.mktemp("replay")
    server = Server(directory, redis_server)
    sensor = Sensor(directory, server)
    sensor.trust(server.ca)
    yield sensor
    server.redis.close()


@pytest.fixture
def sensor(installed: Sensor) -> Iterator[Sensor]:
    """A sensor of which nothing is stored; its server is not started."""
    for key in installed.server.redis.keys("d4:{*}:maltrail"):
        installed.server.redis.delete(key)
    yield installed
    installed.server.daemon.stop()


def shown(sensor: Sensor) -> list[str]:
    """The events that are stored, without their time and sensor."""
    return [essence(found.line()) for found in sensor.arrived()]


def essence(line: str) -> str:
    """An event without its time and its sensor."""
    return line.split(" ", 3)[3]


def test_replay_prints_the_events(sensor: Sensor) -> None:
    printed = sensor.command("replay", str(SAMPLE), *TRAILS).splitlines()
    assert [essence(line) for line in printed] == EXPECTED
    assert all(line.startswith('"20') and line.split(" ")[2] == "vm" for line in printed)
    now = sensor.command("replay", str(SAMPLE), "--timestamps", "wallclock", *TRAILS).splitlines()
    assert [essence(line) for line in now] == EXPECTED
    assert min(now) > max(printed)


def test_replay_sends_the_events(sensor: Sensor) -> None:
    sensor.server.daemon.start()
    assert sensor.command("replay", str(SAMPLE), str(SAMPLE), "--send", *TRAILS) == ""
    assert shown(sensor) == [*EXPECTED * 2, SECOND_PASS]


def test_replay_prints_json(sensor: Sensor) -> None:
    printed = [
        json.loads(line) for line in sensor.command("replay", "--json", str(SAMPLE), *TRAILS).splitlines()
    ]
    assert len(printed) == len(EXPECTED)
    assert all({"sec", "src_ip", "trail", "severity"} <= fields.keys() for fields in printed)


def test_explain_names_packet_rule_and_source(sensor: Sensor) -> None:
    printed = sensor.command("explain", str(SAMPLE), *TRAILS).splitlines()
    assert [essence(line.partition(": ")[2]) for line in printed] == EXPECTED
    assert printed[0].startswith("packet 3, rule address, trail from ")
    assert "d4_test.txt: " in printed[0]


def test_replay_waits_for_the_server_until_it_is_stopped(sensor: Sensor) -> None:
    command = [*sensor.base, "replay", str(SAMPLE), "--send", *TRAILS]
    sending = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)
    assert sending.stderr is not None
    try:
        assert "Connection refused" in sending.stderr.readline()
        sending.terminate()
        assert sending.wait(5) == 1
        assert f"{len(EXPECTED)} events were not delivered" in sending.stderr.read()
    finally:
        sending.kill()
        sending.wait()
        sending.stderr.close()


BROKEN = {
    "missing": None,
    "truncated": SAMPLE.read_bytes()[:-10],
    "foreign": b"no capture\n" * 100,
    "empty": b"",
}


def broken(directory: Path, how: str) -> Path:
    """A file that cannot be read to its end."""
    path = directory / "broken.pcap"
    content = BROKEN[how]
    if content is not None:
        path.write_bytes(content)
    return path


@pytest.mark.parametrize("how", BROKEN)
def test_what_cannot_be_read_is_named_behind_the_events_before_it(
    tmp_path: Path, sensor: Sensor, how: str
) -> None:
    path = broken(tmp_path, how)
    result = sensor.attempt("replay", str(SAMPLE), str(path), *TRAILS)
    assert result.returncode == 1
    assert str(path) in result.stderr and "Traceback" not in result.stderr
    printed = [essence(line) for line in result.stdout.splitlines()]
    assert printed[: len(EXPECTED)] == EXPECTED
    rest = Counter(printed[len(EXPECTED) :])
    assert rest <= Counter([*EXPECTED, SECOND_PASS]) and bool(rest) == (how == "truncated")


@pytest.mark.parametrize("how", ["missing", "truncated"])
def test_what_was_found_before_the_damage_is_sent(tmp_path: Path, sensor: Sensor, how: str) -> None:
    path = broken(tmp_path, how)
    sensor.server.daemon.start()
    result = sensor.attempt("replay", str(SAMPLE), str(path), "--send", *TRAILS)
    assert result.returncode == 1
    assert str(path) in result.stderr and "Traceback" not in result.stderr
    assert shown(sensor)[: len(EXPECTED)] == EXPECTED
    assert len(shown(sensor)) >= len(EXPECTED) + (how == "truncated")


def test_replay_into_a_closed_pipe_ends_quietly(sensor: Sensor) -> None:
    command = [*sensor.base, "replay", *[str(SAMPLE)] * 200, *TRAILS]
    printing = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert printing.stdout is not None and printing.stderr is not None
    with printing.stdout, printing.stderr:
        assert printing.stdout.readline()
        printing.stdout.close()
        assert printing.wait(30) == 0
        assert printing.stderr.read() == b""


def test_a_port_that_is_not_d4_keeps_the_events(sensor: Sensor) -> None:
    """Something else listens there, speaks no TLS, and hangs up."""
    with socket.create_server(("127.0.0.1", sensor.server.port)) as listening:
        listening.settimeout(20)
        command = [*sensor.base, "replay", str(SAMPLE), "--send", *TRAILS]
        sending = subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL)
        for _ in range(2):
            connection, _ = listening.accept()
            connection.sendall(b"220 ready\r\n")
            connection.close()
    sensor.server.daemon.start()
    assert sending.wait(20) == 0
    assert shown(sensor) == EXPECTED
