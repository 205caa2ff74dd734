"""Capture on a pair of virtual interfaces, in a network namespace of the test's own."""

from __future__ import annotations

import os
import select
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import frames
import pytest
import variety
from sensing import batch, trails_of

from d4common.event import Event
from d4sensor import capture
from d4sensor.capture import CaptureError, Interface
from d4sensor.engine import Engine
from d4sensor.judges import beacon

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="capturing on an interface needs root")

NAMESPACE = f"d4-test-{os.getpid()}"
TRAILS = {"203.0.113.5": "bad", "evil.tld": "bad", "2001:db8:bad::1": "bad"}
BAD = [
    frames.ping("10.0.0.1", "203.0.113.5"),
    frames.query("10.0.0.1", "www.evil.tld", frames.AAAA),
    frames.syn("2001:db8::1", 4000, "2001:db8:bad::1", 443),
]


def ip(command: str, namespace: bool = True) -> None:
    """Runs ip(8)."""
    words = ["ip", *(["-n", NAMESPACE] if namespace else []), *command.split()]
    subprocess.run(words, check=True, capture_output=True, text=True)


@contextmanager
def inside() -> Iterator[None]:
    """This thread in the namespace."""
    with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{NAMESPACE}") as there:
        enter(there.fileno())
        try:
            yield
        finally:
            enter(home.fileno())


def enter(descriptor: int) -> None:
    """setns(2), which Python has from 3.12 on."""
    import ctypes

    if ctypes.CDLL(None, use_errno=True).setns(descriptor, 0):
        raise OSError(ctypes.get_errno(), "setns")


@pytest.fixture(scope="module", autouse=True)
def veth() -> Iterator[None]:
    """Two interfaces, left and right, each of which hears what is sent on the other."""
    try:
        ip(f"netns add {NAMESPACE}", namespace=False)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespace can be made here: {error}")
    try:
        ip("link add left type veth peer name right")
        for name in ("left", "right"):
            ip(f"link set {name} addrgenmode none")
            ip(f"link set {name} up")
        yield
    finally:
        ip(f"netns delete {NAMESPACE}", namespace=False)


@contextmanager
def watching(name: str, filter: str = "") -> Iterator[Interface]:
    """An interface of the namespace being watched."""
    with inside():
        interface = capture.open_interface(name, 2000, 1 << 20, filter)
    try:
        yield interface
    finally:
        interface.close()


def send(*packets: bytes) -> None:
    """Sends frames on the left."""
    with inside(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind(("left", 0))
        for packet in packets:
            sender.send(packet)


def judged(interface: Interface, engine: Engine, count: int) -> list[str]:
    """The first ``count`` trails that show on an interface."""
    return [event.trail for event in shown(interface, engine, count)]


def shown(interface: Interface, engine: Engine, count: int) -> list[Event]:
    """The first ``count`` events on an interface."""
    found: list[Event] = []
    while len(found) < count:
        readable, _, _ = select.select([interface], [], [], 10)
        assert readable, f"no more packets within ten seconds of {found}"
        while (batch := interface.read()) is not None:
            found += engine.judge(batch)
    return found


def test_events_of_an_interface() -> None:
    engine = Engine(trails_of(TRAILS), "sensor")
    with watching("right") as interface:
        assert interface.link == 1
        send(*BAD)
        assert judged(interface, engine, 3) == ["203.0.113.5", "(www).evil.tld", "2001:db8:bad::1"]
        assert interface.counts().received >= 3
        assert interface.counts().dropped == 0


@pytest.mark.parametrize("name", ["right", "any"])
def test_no_capture_loses_what_a_file_would_show(name: str) -> None:
    offline = Engine(variety.TRAILS, "sensor")
    expected = {what(event) for event in (*offline.judge(batch(*variety.VALID)), *offline.finish())}
    live = Engine(variety.TRAILS, "sensor")
    found: set[tuple[str, ...]] = set()
    with watching(name) as interface:
        send(*variety.VALID)
        while live.counts["packets"] < len(variety.VALID):
            assert select.select([interface], [], [], 10)[0], "no more packets within ten seconds"
            while (packets := interface.read()) is not None:
                found |= {what(event) for event in live.judge(packets)}
    found |= {what(event) for event in live.finish()}
    assert expected and expected - found == set()


def what(event: Event) -> tuple[str, ...]:
    """What an event says but for its time and how often it was seen."""
    return event.src_ip, event.type, event.trail, event.info


def test_events_of_all_interfaces() -> None:
    engine = Engine(trails_of(TRAILS), "sensor")
    with watching("any") as interface:
        assert interface.link in (113, 276)
        send(*BAD)
        assert judged(interface, engine, 3) == ["203.0.113.5", "(www).evil.tld", "2001:db8:bad::1"]


def test_tag_of_a_vlan_arrives_with_its_packet() -> None:
    engine = Engine(trails_of(TRAILS), "sensor")
    packet = frames.frame(frames.ip("10.0.0.1", "203.0.113.5", 47, b"x" * 20), [(frames.VLAN, 5)])
    for name in ("right", "any"):
        with watching(name) as interface:
            send(packet)
            assert judged(interface, engine, 1) == ["203.0.113.5"]
        engine = Engine(trails_of(TRAILS), "sensor")


@pytest.mark.parametrize("name", ["right", "any"])
@pytest.mark.parametrize("network", ["10.0.1.", "2001:db8:1::"])
def test_packet_in_every_encapsulation(name: str, network: str) -> None:
    server = "2001:db8:bad::1" if ":" in network else "203.0.113.5"
    clients = [f"{network}{number}" for number in range(1, 1 + len(frames.encapsulated(b"\x40")))]
    sent = []
    for number, client in enumerate(clients):
        segment = frames.tcp_segment(client, 4000, server, 443, flags=frames.SYN)
        sent.append([*frames.encapsulated(frames.ip(client, server, 6, segment)).values()][number])
    with watching(name) as interface:
        send(*sent)
        events = shown(interface, Engine(trails_of(TRAILS), "sensor"), len(sent))
    assert {event.src_ip for event in events} == set(clients)


def test_read_does_not_block_where_nothing_waits() -> None:
    with watching("right") as interface:
        assert interface.read() is None


def test_filter_lets_through_what_it_names() -> None:
    with watching("right", "udp") as interface:
        send(frames.ping("10.0.0.1", "10.0.0.2"), frames.udp("10.0.0.1", 1, "10.0.0.2", 2))
        assert select.select([interface], [], [], 10)[0]
        batch = interface.read()
        assert batch is not None
        assert len(batch.meta) == 1


def test_filter_that_is_none() -> None:
    with pytest.raises(CaptureError, match="interface right: .*syntax"), watching("right", "no such filter"):
        pass


def test_interface_that_is_down() -> None:
    ip("link set left down")
    try:
        with pytest.raises(CaptureError, match="interface left: the interface is not up"), watching("left"):
            pass
    finally:
        ip("link set left up")


def test_interface_that_goes_away() -> None:
    ip("link add third type veth peer name fourth")
    ip("link set third up")
    ip("link set fourth up")
    with watching("fourth") as interface:
        ip("link delete third")
        assert select.select([interface], [], [], 10)[0]
        with pytest.raises(CaptureError, match="^interface fourth: "):
            while True:
                interface.read()


SCANS = {
    "potential port scanning": [frames.syn("198.51.100.9", 4000, "10.0.0.1", n) for n in range(11)],
    "potential port scanning (IPv6)": [
        frames.syn("2001:db8:1::9", 4000, "2001:db8::1", n) for n in range(11)
    ],
    "potential port scanning (no flags)": [
        frames.syn("198.51.100.9", 4000, "10.0.0.1", n, 0) for n in range(11)
    ],
    "potential udp scanning": [
        frames.udp("198.51.100.9", 4000, "10.0.0.1", 100 + n, b"x") for n in range(11)
    ],
    "potential infection": [frames.syn("10.0.0.1", 4000, f"198.51.100.{n}", 445) for n in range(33)],
    "potential web scanning": [
        frames.tcp("10.0.0.1", 4000 + n, "198.51.100.9", 8081, frames.request("a.tld", f"/{n}/"))
        for n in range(11)
    ],
    "bad": [frames.tcp("203.0.113.5", 443, "10.0.0.1", 40000, b"x")],
}


@pytest.mark.parametrize("name", SCANS)
def test_heuristics_on_an_interface(name: str) -> None:
    with watching("any") as interface:
        send(*SCANS[name])
        (event,) = shown(interface, Engine(trails_of(TRAILS), "sensor"), 1)
    assert event.info == name.partition(" (")[0]


def test_beacon_on_an_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock of milliseconds; the one of minutes is in test_beacon.py."""
    monkeypatch.setattr(beacon, "SHORTEST", 0.05)
    monkeypatch.setattr(beacon, "BURST", 0.0)
    monkeypatch.setattr(beacon, "JITTER", 10.0)
    engine = Engine(trails_of(TRAILS), "sensor")
    found: list[Event] = []
    with watching("right") as interface:
        for port in range(40_000, 40_100):
            send(frames.syn("10.0.0.1", port, "198.51.100.9", 443))
            select.select([], [], [], 0.1)
            while (batch := interface.read()) is not None:
                found += engine.judge(batch)
            if found:
                break
    assert found[0].info == "potential periodic beaconing (suspicious)"
