"""Which packets a judge gets to see."""

from __future__ import annotations

from collections import Counter

import frames
import numpy as np
import pytest
from frames import ACK, CWR, ECE, FIN, PSH, RST, SYN
from sensing import batch, trails_of

from d4sensor.heads import Heads
from d4sensor.judges.address import beginnings
from d4sensor.sieve import Traffic, sieve

TRAILS = trails_of({"203.0.113.5": "bad", "203.0.113.6:443": "bad", "2001:db8:bad::1": "bad"})


def sieved(*packets: bytes) -> tuple[Traffic, dict[str, int]]:
    """The IP packets among these, and what was counted besides their number."""
    counts = Counter[str]()
    traffic = sieve(batch(*packets), counts)
    assert counts.pop("packets") == len(packets)
    return traffic, dict(+counts)


def kept(*packets: bytes) -> tuple[list[int], list[int], list[int]]:
    """The numbers of the packets that are left for the address judge, the DNS judge and the HTTP judge."""
    traffic, _ = sieved(*packets)
    begun = np.flatnonzero(beginnings(traffic))
    begun = begun[traffic.listed(begun, TRAILS.addresses)]
    numbers = traffic.datagrams.packet
    return (
        numbers[begun].tolist(),
        numbers[traffic.query].tolist(),
        [head.packet for head in Heads().add(traffic, Counter()).requests],
    )


@pytest.mark.parametrize(
    "packet",
    [
        frames.syn("10.0.0.1", 1, "203.0.113.5", 2),
        frames.syn("203.0.113.5", 1, "10.0.0.1", 2),
        frames.syn("10.0.0.1", 1, "203.0.113.6", 2),
        frames.syn("10.0.0.1", 1, "203.0.113.5", 2, SYN | ECE | CWR),
        frames.syn("2001:db8::1", 1, "2001:db8:bad::1", 2),
        frames.udp("10.0.0.1", 1, "203.0.113.5", 2, b"x"),
        frames.ping("10.0.0.1", "203.0.113.5"),
        frames.ping("2001:db8::1", "2001:db8:bad::1"),
        frames.frame(frames.ip("10.0.0.1", "203.0.113.5", 47, b"")),
        frames.frame(frames.ip("2001:db8:bad::1", "2001:db8::1", 132, b"")),
    ],
)
def test_what_begins_with_a_listed_address(packet: bytes) -> None:
    assert kept(packet) == ([0], [], [])


@pytest.mark.parametrize(
    "packet",
    [
        frames.syn("10.0.0.1", 1, "203.0.113.7", 2),
        frames.syn("2001:db8::1", 1, "2001:db8:good::1".replace("good", "900d"), 2),
        *(
            frames.tcp("10.0.0.1", 1, "203.0.113.5", 2, flags=flags)
            for flags in (ACK, SYN | ACK, SYN | FIN, SYN | RST, RST, FIN | ACK, PSH | ACK, 0)
        ),
        frames.ping("203.0.113.5", "10.0.0.1", reply=True),
        frames.ping("2001:db8:bad::1", "2001:db8::1", reply=True),
        frames.udp("203.0.113.5", 53, "10.0.0.1", 1, frames.dns("a.tld", flags=0x8180)),
        frames.arp("203.0.113.5", "10.0.0.1"),
    ],
)
def test_what_no_address_trail_is_about(packet: bytes) -> None:
    assert kept(packet) == ([], [], [])


def test_queries_from_either_side_of_port_53() -> None:
    ask = frames.dns("a.tld")
    packets = [
        frames.udp("10.0.0.1", 4000, "10.0.0.2", 53, ask),
        frames.udp("10.0.0.1", 53, "10.0.0.2", 4000, ask),
        frames.udp("2001:db8::1", 4000, "2001:db8::2", 53, ask),
        frames.udp("10.0.0.1", 4000, "10.0.0.2", 54, ask),
        frames.udp("10.0.0.2", 53, "10.0.0.1", 4000, frames.dns("a.tld", flags=0x8180)),
    ]
    assert kept(*packets) == ([], [0, 1, 2], [])


def test_what_is_no_standard_query_on_port_53_is_a_datagram_like_any() -> None:
    update = frames.dns("a.tld", flags=0x2800)
    packets = [
        frames.udp("10.0.0.1", 4000, "203.0.113.5", 53, data) for data in (update, b"x", b"", bytes(40))
    ]
    assert kept(*packets) == ([0, 1, 2, 3], [], [])
    assert sieved(*packets)[1] == {"dns_malformed": 2}


def test_query_says_whether_an_address_is_listed() -> None:
    traffic, _ = sieved(*(frames.query("10.0.0.1", "a.tld", server=s) for s in ("203.0.113.5", "10.0.0.53")))
    assert traffic.listed(np.flatnonzero(traffic.query), TRAILS.addresses).tolist() == [True, False]


@pytest.mark.parametrize(
    "method", ["GET", "PUT", "POST", "HEAD", "OPTIONS", "CONNECT", "BREW", "M-SEARCH"[2:]]
)
@pytest.mark.parametrize("port", [80, 31337])
def test_requests_of_any_method_on_any_port(method: str, port: int) -> None:
    data = frames.request("a.tld", "/", method)
    assert kept(frames.tcp("10.0.0.1", 1, "10.0.0.2", port, data)) == ([], [], [0])


def test_request_behind_tcp_options() -> None:
    segment = frames.tcp_segment("10.0.0.1", 1, "10.0.0.2", 80, bytes(12) + frames.request("a.tld", "/"))
    segment = segment[:12] + bytes((8 << 4,)) + segment[13:]
    assert kept(frames.frame(frames.ip("10.0.0.1", "10.0.0.2", 6, segment))) == ([], [], [0])


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"\x16\x03\x01\x02\x00" + bytes(99),
        b"get / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1",
    ]
    + [b"Get / HTTP/1.1\r\n\r\n", b"GE / HTTP/1.1\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b""],
)
def test_what_is_no_request(data: bytes) -> None:
    assert kept(frames.tcp("10.0.0.1", 1, "10.0.0.2", 80, data)) == ([], [], [])


def test_transport_headers_that_are_not_whole() -> None:
    cut = [
        frames.frame(frames.ip("10.0.0.1", "203.0.113.5", protocol, bytes(size)))
        for protocol, size in ((6, 19), (17, 7), (1, 0))
    ]
    doff = frames.ip("10.0.0.1", "203.0.113.5", 6, bytes(12) + b"\x40\x02" + bytes(6))
    traffic, counts = sieved(*cut, frames.frame(doff), frames.ping("10.0.0.1", "203.0.113.5"))
    assert counts == {"truncated": 3, "malformed": 1}
    assert traffic.datagrams.packet.tolist() == [4]


def test_segments_are_those_of_tcp_with_data() -> None:
    traffic, _ = sieved(
        frames.tcp("10.0.0.1", 1, "10.0.0.2", 2, flags=ACK),
        frames.udp("10.0.0.1", 1, "10.0.0.2", 2, b"data"),
        frames.tcp("10.0.0.1", 1, "10.0.0.2", 2, b"x"),
        frames.tcp("2001:db8::1", 1, "2001:db8::2", 2, b"data"),
    )
    assert traffic.segments.tolist() == [2, 3]


def test_addresses_of_ipv4_and_ipv6_side_by_side() -> None:
    traffic, _ = sieved(
        frames.ping("10.0.0.1", "203.0.113.5"),
        frames.ping("2001:db8::1", "2001:db8:bad::1"),
        frames.frame(frames.ip("203.0.113.6", "10.0.0.1", 47, b"", options=b"\1" * 4)),
        frames.ping("2001:db8::1", "2001:db8::2"),
        frames.ping("10.0.0.1", "10.0.0.2"),
    )
    assert traffic.six.tolist() == [False, True, False, True, False]
    assert traffic.pair[::2].tolist() == [
        [0x0A000001, 0xCB007105],
        [0xCB007106, 0x0A000001],
        [0x0A000001, 0x0A000002],
    ]
    assert traffic.six_pair(np.array([3])).tolist() == [[0x20010DB800000000, 1, 0x20010DB800000000, 2]]
    assert traffic.listed(np.arange(5), TRAILS.addresses).tolist() == [True, True, True, False, False]


def test_no_packets() -> None:
    assert kept() == ([], [], [])
