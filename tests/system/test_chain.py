"""Two hosts: a capture host with d4-sensor, and a server host with the rest of the chain."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from system.machines import NETWORK, TREE, Machine, run
from waiting import wait_for

SAMPLE = TREE / "demo" / "sample.pcap"
TRAILS = TREE / "demo" / "trails"

SERVER_ADDRESS = "10.77.0.20"
PASSWORD = "correct-horse-battery"

SERVER_UNITS = (
    "redis-server@d4.service",
    "d4-server.socket",
    "d4-server.service",
    "d4-exporter@maltrail.service",
    "d4-exporter.target",
    "maltrail-collector.socket",
    "maltrail-collector-web.socket",
    "maltrail-collector.service",
)
CAPTURE_UNITS = ("d4-sensor.service",)


@dataclass(frozen=True)
class Chain:
    """The two hosts."""

    server: Machine
    capture: Machine


@pytest.fixture(scope="module")
def chain(network: None) -> Iterator[Chain]:
    """Both hosts, with packages installed and set up as their README.Debian says."""
    with ExitStack() as stack, ThreadPoolExecutor() as both:
        server = stack.enter_context(Machine("server", "server"))
        capture = stack.enter_context(Machine("capture", "capture"))
        installed = (
            both.submit(server.install, "d4-server d4-exporter maltrail-collector"),
            both.submit(capture.install, "d4-sensor"),
        )
        for each in installed:
            each.result()
        set_up(server, capture)
        yield Chain(server, capture)


def set_up(server: Machine, capture: Machine) -> None:
    """What an administrator does after the installation."""
    server.write("/etc/d4/server.conf.d/50-site.conf", "[d4]\nclient_certificates = yes\n")
    shown = server.run("d4-server", "certificate", "--name", SERVER_ADDRESS)
    server.run("systemctl", "restart", "d4-server")
    server.run("maltrail-collector", "password", "--set", input=f"{PASSWORD}\n")

    fingerprint = re.search(r"^SHA-256: (.*)$", shown, re.MULTILINE)
    assert fingerprint
    token = server.run("d4-server", "sensors", "token").strip()
    known = ("--fingerprint", fingerprint[1])
    capture.run("d4-sensor", "enroll", SERVER_ADDRESS, "--token", token, *known, "--certificate")
    capture.write(
        "/etc/d4/sensor.conf.d/50-site.conf",
        "[capture]\ninterface = tap0\n[events]\nburst = 1000000\n",  # each replay counts
    )
    for path in TRAILS.rglob("*.txt"):
        capture.write(f"/etc/d4/trails.d/{path.relative_to(TRAILS)}", path.read_bytes())
    capture.run("systemctl", "restart", "d4-sensor")


def what(event: str) -> str:
    """An event without its time, its sensor and the reference, which says where the trail was found."""
    return event.split(" ", 3)[3].rpartition(" ")[0]


EXPECTED = {what(f"- - - {line}") for line in (TREE / "demo" / "expected.txt").read_text().splitlines()}


def replay() -> None:
    """Puts the sample on the tap: its half minute in a third of a second."""
    generator = ("ip", "netns", "exec", f"{NETWORK}-generator")
    run(*generator, "tcpreplay", "--quiet", "--intf1=tap0", "--multiplier=100", SAMPLE)


def assert_events_arrive(chain: Chain) -> None:
    """Replays the sample until all its events have come to the collector, and not from an earlier replay.

    More than one replay is needed where a connection has just broken: plain D4 cannot know what was lost.
    """
    before = len(chain.server.events(PASSWORD))

    def complete() -> bool:
        return {what(line) for line in chain.server.events(PASSWORD)[before:]} >= EXPECTED

    def arrived() -> bool:
        replay()
        try:
            wait_for(complete, 5)
        except AssertionError:
            return False
        return True

    wait_for(arrived, 60)


def test_packets_on_the_tap_become_events(chain: Chain) -> None:
    wait_for(lambda: "connected to" in status(chain.capture, "d4-sensor.service"), 30)
    replay()
    wait_for(lambda: {what(line) for line in chain.server.events(PASSWORD)} == EXPECTED, 30)


@pytest.mark.parametrize("unit", SERVER_UNITS)
def test_events_arrive_after_a_restart_on_the_server(chain: Chain, unit: str) -> None:
    chain.server.run("systemctl", "restart", unit)
    assert_events_arrive(chain)


@pytest.mark.parametrize("unit", CAPTURE_UNITS)
def test_events_arrive_after_a_restart_on_the_capture_host(chain: Chain, unit: str) -> None:
    chain.capture.run("systemctl", "restart", unit)
    assert_events_arrive(chain)


def test_events_arrive_after_the_sensor_has_renewed_key_and_certificate(chain: Chain) -> None:
    """By the unit whose timer looks every day; it is told here that it is time."""
    identity = "/etc/d4/sensor.conf.d/10-identity.conf"
    before = chain.capture.run("cat", identity)
    chain.capture.run("systemctl", "start", "d4-sensor-renew.service")
    assert chain.capture.run("cat", identity) == before, "nothing is due"
    drop_in = "/run/systemd/system/d4-sensor-renew.service.d/now.conf"
    chain.capture.write(drop_in, "[Service]\nExecCondition=\n")
    chain.capture.run("systemctl", "daemon-reload")
    chain.capture.run("systemctl", "start", "d4-sensor-renew.service")
    assert chain.capture.run("cat", identity) != before
    assert_events_arrive(chain)


def test_events_arrive_after_a_reboot_of_both(chain: Chain) -> None:
    before = chain.server.events(PASSWORD)
    for machine in (chain.server, chain.capture):
        machine.reboot()
        assert not machine.run("systemctl", "list-units", "--failed", "--no-legend")
    assert_events_arrive(chain)
    assert chain.server.events(PASSWORD)[: len(before)] == before


def status(machine: Machine, unit: str) -> str:
    """The line in which a service says what it is doing."""
    return machine.run("systemctl", "show", "--value", "--property", "StatusText", unit)
