"""Packets inside of packets."""

from __future__ import annotations

from collections import Counter

import frames
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sensing import batch, told

from d4sensor.headers import Window
from d4sensor.links import LINKS
from d4sensor.tunnels import MAX_NESTING, find

UDP = frames.udp_datagram("10.0.0.1", 1111, "10.0.0.2", 2222, b"payload")
IPV4 = frames.ip("10.0.0.1", "10.0.0.2", 17, UDP)
IPV6 = frames.ip("2001:db8::1", "2001:db8::2", 17, UDP)

ENCAPSULATED = {packet: frames.encapsulated(packet) for packet in (IPV4, IPV6)}


def found(*packets: bytes) -> tuple[list[tuple[int, int, bytes]], dict[str, int]]:
    """Packet number, protocol and the bytes behind the IP headers of each IP packet, and what was counted."""
    given, counts = batch(*packets), Counter[str]()
    result = find(given, Window(given.data), counts)
    columns = (column.tolist() for column in result)
    rows = [(n, protocol, given.data[at:end]) for n, _, protocol, at, end in zip(*columns, strict=True)]
    return rows, dict(+counts)


@pytest.mark.parametrize("packet", [IPV4, IPV6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("name", ENCAPSULATED[IPV4])
def test_packet_in_each_encapsulation(name: str, packet: bytes) -> None:
    other = frames.ping("10.0.0.8", "10.0.0.9")
    rows, counts = found(other, ENCAPSULATED[packet][name], other)
    assert counts == {}
    assert [row for row in rows if row[0] == 1][-1] == (1, 17, UDP), "the innermost comes last"
    assert [number for number, _, _ in rows if number != 1] == [0, 2]


def test_outer_packets_stay() -> None:
    rows, _ = found(frames.tunnelled(IPV4)["three tunnels"])
    assert [protocol for _, protocol, _ in rows] == [17, 47, 4, 17]


@pytest.mark.parametrize("name", frames.tunnelled(IPV4))
def test_both_ends_of_a_tunnel_and_of_what_is_in_it_are_judged(name: str) -> None:
    packet = frames.ip(
        "10.0.0.1", "203.0.113.5", 6, frames.tcp_segment("10.0.0.1", 9, "203.0.113.5", 80, flags=frames.SYN)
    )
    frame = frames.tunnelled(packet)[name]
    lines = told({"203.0.113.5": "bad", "192.0.2.2": "worse", "2001:db8::b": "worse"}, frame)
    assert lines[-1] == "10.0.0.1 9 203.0.113.5 80 TCP IP 203.0.113.5"
    assert lines[0].endswith((" IP 192.0.2.2", " IP 2001:db8::b"))


def test_tunnels_beyond_the_last_that_is_looked_into_are_counted() -> None:
    packet = IPV4
    for depth in range(MAX_NESTING + 3):
        rows, counts = found(frames.frame(packet))
        assert len(rows) == min(depth, MAX_NESTING) + 1
        assert counts == ({"nested": 1} if depth > MAX_NESTING else {})
        packet = frames.ip("192.0.2.1", "192.0.2.2", 4, packet)


@pytest.mark.parametrize(
    "packet",
    [
        frames.vxlan(frames.frame(IPV4), flags=0),
        frames.ip(
            "192.0.2.1", "192.0.2.2", 17, frames.udp_datagram("192.0.2.1", 1, "192.0.2.2", 4789, b"short")
        ),
        frames.ip(
            "192.0.2.1",
            "192.0.2.2",
            17,
            frames.udp_datagram("192.0.2.1", 4789, "192.0.2.2", 1, frames.vxlan(IPV4)),
        ),
        frames.ip("192.0.2.1", "192.0.2.2", 47, bytes((0x30, 0x01, 0x88, 0x0B)) + bytes(40)),
        frames.ip("192.0.2.1", "192.0.2.2", 47, bytes((0x40, 0x00, 0x08, 0x00)) + IPV4),
    ],
    ids=["no VXLAN network", "too short for VXLAN", "from VXLAN's port", "GRE of PPTP", "GRE with routing"],
)
def test_what_is_no_tunnel(packet: bytes) -> None:
    rows, counts = found(frames.frame(packet))
    assert len(rows) == 1
    assert counts == {}


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (frames.gre(frames.arp("10.0.0.1", "10.0.0.2"), 0x6558), "not_ip"),
        (frames.ip("192.0.2.1", "192.0.2.2", 4, IPV6), "malformed"),
        (frames.ip("192.0.2.1", "192.0.2.2", 41, IPV6[:30]), "truncated"),
        (frames.gre(b"", frames.IPV4, key=b"1")[:-3], "truncated"),
        (frames.vxlan(frames.frame(IPV4)[:10]), "truncated"),
        (frames.gre(frames.ip("10.0.0.1", "10.0.0.2", 17, UDP, fragment=9), frames.IPV4), "fragments"),
    ],
)
def test_what_is_left_out_of_a_tunnel_is_counted(packet: bytes, reason: str) -> None:
    rows, counts = found(frames.frame(packet))
    assert len(rows) == 1
    assert counts == {reason: 1}


def test_later_fragment_of_a_tunnel_is_not_looked_into() -> None:
    rows, counts = found(frames.frame(frames.ip("192.0.2.1", "192.0.2.2", 4, IPV4, fragment=1)))
    assert (rows, counts) == ([], {"fragments": 1})


def test_packet_ends_where_its_tunnel_does() -> None:
    frame = frames.frame(frames.gre(IPV4, frames.IPV4)) + b"padding"
    assert found(frame)[0][-1] == (0, 17, UDP)
    assert found(frames.frame(frames.gre(IPV4[:-3], frames.IPV4)) + b"padding")[0][-1] == (0, 17, UDP[:-3])


@pytest.mark.parametrize("name", ENCAPSULATED[IPV4])
def test_every_way_to_end_too_soon(name: str) -> None:
    for packet in (IPV4, IPV6):
        frame = ENCAPSULATED[packet][name]
        for size in range(len(frame)):
            rows, counts = found(frame[:size], frames.frame(IPV4))
            assert (1, 17, UDP) in rows, "the packet behind is found all the same"
            whole = any(UDP.startswith(inner) for _, protocol, inner in rows[:-1] if protocol == 17)
            assert whole or sum(counts.values()) <= 1


@given(st.sampled_from(sorted(LINKS)), st.data())
def test_any_bytes_lie_within_their_packet(link: int, data: st.DataObject) -> None:
    shims = st.sampled_from(
        [bytes.fromhex(text) for text in ("8100", "88470001", "8864", "6558", "88be", "880b")]
    )
    packets = data.draw(st.lists(st.lists(shims | st.binary(max_size=40)).map(b"".join), max_size=12))
    carrier = data.draw(
        st.sampled_from([(4, b""), (41, b""), (47, b"\x10\0\x88\xbe"), (47, b"\0\0\x65\x58")])
    )
    packets = [frames.frame(frames.ip("10.0.0.1", "10.0.0.2", carrier[0], carrier[1] + p)) for p in packets]
    given = batch(*packets, link=link)
    result = find(given, Window(given.data), Counter[str]())
    for number, ip, _, transport, end in zip(*(column.tolist() for column in result), strict=True):
        _, _, offset, size = given.meta[number].tolist()
        assert offset <= ip < transport <= end <= offset + size
