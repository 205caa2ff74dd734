"""Scans, rule by rule; one packet less is none."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import frames
import pytest
from sensing import batch_at, trails_of

from d4common.event import Event
from d4sensor import spread as spreads
from d4sensor.capture import Batch
from d4sensor.engine import Engine
from d4sensor.trails import Trails

IPV4, IPV6 = ("198.51.100.9", "10.0.0.1"), ("2001:db8:1::9", "2001:db8:2::1")
HOSTS = pytest.mark.parametrize("hosts", [IPV4, IPV6])


def engine(*disabled: str) -> Engine:
    """An engine without trails."""
    return Engine(trails_of({}), "sensor", frozenset({"beaconing", *disabled}))


def told(events: Iterable[Event]) -> list[str]:
    """Events as lines, from the type on."""
    return [f"{each.type} {each.trail} {each.info} {each.reference}" for each in events]


def probes(hosts: tuple[str, str], count: int, pause: float = 1, flags: int = frames.SYN) -> Batch:
    """SYNs, or segments with other flags, to so many ports, with so many seconds between them."""
    return batch_at(
        *((n * pause, frames.syn(hosts[0], 4000, hosts[1], 100 + n, flags)) for n in range(count))
    )


@HOSTS
@pytest.mark.parametrize("flags", [frames.SYN, frames.SYN | frames.ECE, 0, frames.FIN, 0x29])
def test_port_scan(hosts: tuple[str, str], flags: int) -> None:
    assert engine().judge(probes(hosts, 10, flags=flags)) == []
    (event,) = engine().judge(probes(hosts, 11, flags=flags))
    assert told([event]) == [f"IP {hosts[0]} potential port scanning (heuristic)"]
    assert (event.src_ip, event.dst_ip, event.dst_port, event.proto) == (*hosts, "110", "TCP")


@pytest.mark.parametrize("flags", [frames.ACK, frames.RST, frames.SYN | frames.ACK, frames.FIN | frames.ACK])
def test_answers_are_no_port_scan(flags: int) -> None:
    assert engine().judge(probes(IPV4, 50, flags=flags)) == []


def test_probes_of_both_kinds_are_counted_in_their_order() -> None:
    early = [(n, frames.syn(*sides(100 + n), frames.FIN)) for n in range(5)]
    later = [(n + 5, frames.syn(*sides(200 + n))) for n in range(6)]
    assert len(engine().judge(batch_at(*early, *later))) == 1
    assert engine().judge(batch_at(*early, *((when + 100, probe) for when, probe in later))) == []


def sides(port: int) -> tuple[str, int, str, int]:
    """Who asks for a port, and where."""
    return IPV4[0], 4000, IPV4[1], port


def test_one_port_of_many_hosts_or_again_and_again_is_no_port_scan() -> None:
    hosts = [(n, frames.syn("10.0.0.1", 4000, f"203.0.113.{n}", 443)) for n in range(30)]
    again = [(n, frames.syn("10.0.0.1", 4000 + n, "203.0.113.1", 443)) for n in range(30)]
    assert engine().judge(batch_at(*hosts)) == engine().judge(batch_at(*again)) == []


def test_port_scan_is_told_once_in_thirty_seconds_and_host() -> None:
    events = engine().judge(probes(IPV4, 700, 0.1))
    assert [event.sec - events[0].sec for event in events] == [0, 30, 60]


def test_port_scan_over_several_batches() -> None:
    sensor = engine()
    found = [sensor.judge(batch_at((n, frames.syn(IPV4[0], 4000, IPV4[1], n)))) for n in range(11)]
    assert list(map(len, found)) == [0] * 10 + [1]


@HOSTS
def test_slow_scan(hosts: tuple[str, str]) -> None:
    assert engine().judge(probes(hosts, 60, 59)) == []
    assert told(engine().judge(probes(hosts, 61, 59))) == [
        f"IP {hosts[0]} potential port scanning (heuristic)"
    ]
    assert engine().judge(probes(hosts, 300, 61)) == []
    assert engine("slow_scanning").judge(probes(hosts, 61, 59)) == []


def datagrams(hosts: tuple[str, str], count: int, pause: float = 1) -> list[tuple[float, bytes]]:
    """Datagrams to so many ports."""
    return [(n * pause, frames.udp(hosts[0], 4000, hosts[1], 100 + n, b"x")) for n in range(count)]


@HOSTS
def test_udp_scan(hosts: tuple[str, str]) -> None:
    assert engine().judge(batch_at(*datagrams(hosts, 10))) == []
    (event,) = engine().judge(batch_at(*datagrams(hosts, 11)))
    assert told([event]) == [f"IP {hosts[0]} potential udp scanning (heuristic)"]
    assert engine().judge(batch_at(*datagrams(hosts, 60, 59))) == []
    assert len(engine().judge(batch_at(*datagrams(hosts, 61, 59)))) == 1


def test_answers_of_a_service_are_no_udp_scan() -> None:
    """A client that asks from many ports gets an answer at each."""
    questions = [(n, frames.udp("10.0.0.1", 4000 + n, "203.0.113.5", 443, b"x")) for n in range(25)]
    answers = [(n + 0.5, frames.udp("203.0.113.5", 443, "10.0.0.1", 4000 + n, b"x")) for n in range(25)]
    assert engine().judge(batch_at(*sorted(questions + answers))) == []
    assert len(engine().judge(batch_at(*answers))) == 1


def test_resolver_is_no_udp_scanner() -> None:
    answers = [
        (n, frames.udp("10.0.0.53", 53, "10.0.0.1", 4000 + n, frames.dns("a.tld", flags=0x8180)))
        for n in range(25)
    ]
    assert engine().judge(batch_at(*answers)) == []


@pytest.mark.parametrize("port", [135, 139, 445, 1433, 3389, 6379, 6892, 6893, 6901])
def test_infection(port: int) -> None:
    tries = [(n / 2, frames.syn("10.0.0.1", 4000 + n, f"203.0.113.{n}", port)) for n in range(33)]
    assert engine().judge(batch_at(*tries[:32])) == []
    (event,) = engine().judge(batch_at(*tries))
    assert told([event]) == [f"PORT {port} potential infection (heuristic)"]
    assert event.src_ip == "10.0.0.1"


@pytest.mark.parametrize(
    ("source", "network", "port", "found"),
    [
        ("192.168.7.7", "10.1.1.", 445, True),
        ("2001:db8::1", "2001:db8:1::", 445, True),
        # Who scans this network from outside is not infected, as far as anybody here can tell.
        ("198.51.100.1", "10.1.1.", 445, False),
        ("10.0.0.1", "203.0.113.", 443, False),
    ],
)
def test_who_may_be_infected(source: str, network: str, port: int, found: bool) -> None:
    tries = [(0, frames.syn(source, 4000 + n, f"{network}{n}", port)) for n in range(1, 100)]
    assert bool(engine().judge(batch_at(*tries))) == found


def asked(
    target: Callable[[int], str], count: int, server: str = "203.0.113.5", method: str = "GET"
) -> list[tuple[float, bytes]]:
    """Requests, one a second."""
    client = "2001:db8::1" if ":" in server else "10.0.0.1"
    return [
        (n, frames.tcp(client, 4000, server, 8080, frames.request("a.tld", target(n), method)))
        for n in range(count)
    ]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("server", ["203.0.113.5", "2001:db8:7::5"])
def test_web_scan(method: str, server: str) -> None:
    tries = asked("/place{}/index.html?a=/b".format, 11, server, method)
    assert engine().judge(batch_at(*tries[:10])) == []
    assert told(engine().judge(batch_at(*tries))) == ["PATH * potential web scanning (heuristic)"]


def test_many_pages_of_one_place_are_no_web_scan() -> None:
    assert engine().judge(batch_at(*asked("/place/{}/x".format, 25))) == []
    assert engine().judge(batch_at(*asked("/page?id={}".format, 25))) == []
    assert engine().judge(batch_at(*asked("http://a{}.tld/".format, 25))) == [], (
        "a proxy is asked for anything"
    )


def test_neighbours_may_ask_each_other_for_anything() -> None:
    assert engine().judge(batch_at(*asked("/{}".format, 25, "10.0.0.80"))) == []


ALL = {
    "port_scanning": probes(IPV4, 11),
    "udp_scanning": batch_at(*datagrams(IPV4, 11)),
    "infection": batch_at(*((0, frames.syn("10.0.0.1", 4000 + n, f"203.0.113.{n}", 445)) for n in range(33))),
    "web_scanning": batch_at(*asked("/{}".format, 11)),
}


@pytest.mark.parametrize("name", ALL)
def test_each_can_be_disabled(name: str) -> None:
    assert len(engine().judge(ALL[name])) == 1
    assert engine(name).judge(ALL[name]) == []
    assert len(engine(*(other for other in ALL if other != name)).judge(ALL[name])) == 1


@pytest.mark.parametrize("name", ALL)
def test_whitelisted_source_may_scan(name: str) -> None:
    trails = Trails({}, [], whitelist=["10.0.0.0/8", "198.51.100.9"])
    assert Engine(trails, "sensor").judge(ALL[name]) == []


def test_what_was_seen_outlives_a_reload_of_trails() -> None:
    sensor = engine()
    assert sensor.judge(probes(IPV4, 10)) == []
    sensor.trails = trails_of({"other.tld": "bad"})
    assert len(sensor.judge(probes(IPV4, 11))) == 1


def test_state_under_a_flood_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many sources, random ports and places; the bounds of a table are tested in test_spread."""
    monkeypatch.setattr(spreads, "MAX_KEYS", 1000)
    monkeypatch.setattr(spreads, "MAX_ITEMS", 2000)
    sensor, rng = engine(), random.Random(4)
    for _ in range(4):
        flood = []
        for _ in range(1000):
            src = f"10.0.{rng.randrange(6)}.{rng.randrange(256)}"
            flood += [
                frames.syn(src, 4000, "203.0.113.5", rng.randrange(65536)),
                frames.syn(src, 4000, f"203.0.113.{rng.randrange(256)}", 445),
                frames.udp(src, 4000, "203.0.113.5", rng.randrange(65536), b"x"),
                frames.tcp(src, 4000, "203.0.113.5", 80, frames.request("a.tld", f"/{rng.random()}")),
            ]
        sensor.judge(batch_at(*((0, frame) for frame in flood)))
    (judge,) = sensor._heuristics
    tables = [judge._ports, judge._udp_ports, judge._hosts, judge._places]  # type: ignore[attr-defined]
    assert [(table._items <= 2000, len(table._seen) <= 1000, table._items > 900) for table in tables] == [
        (True, True, True)
    ] * 4
