"""From frames to transport headers."""

from __future__ import annotations

import struct
from collections import Counter

import frames
import numpy as np
import pytest
from frames import QINQ, VLAN
from hypothesis import given
from hypothesis import strategies as st
from sensing import batch

from d4sensor.headers import MAX_SHIMS, Window, find
from d4sensor.links import LINKS

UDP = frames.udp_datagram("10.0.0.1", 1111, "10.0.0.2", 2222, b"payload")
IPV4 = frames.ip("10.0.0.1", "10.0.0.2", 17, UDP)
IPV6 = frames.ip("2001:db8::1", "2001:db8::2", 17, UDP)


def found(*packets: bytes, link: int = 1) -> tuple[list[tuple[int, bytes]], dict[str, int]]:
    """The protocol of each IP packet and the bytes behind its IP headers, and what was counted."""
    given, counts = batch(*packets, link=link), Counter[str]()
    result = find(given, Window(given.data), counts)
    spans = zip(result.protocol, result.transport, result.end, strict=True)
    return [(int(p), given.data[start:end]) for p, start, end in spans], dict(+counts)


def test_window_goes_on_with_zeros_behind_the_end() -> None:
    window, last = Window(b"abc"), np.array([2])
    assert window.u8(last).tolist() == [ord("c")]
    assert window.u16(last).tolist() == [ord("c") << 8]
    assert window.rows(last, 20).tobytes() == b"c" + bytes(19)
    with pytest.raises(IndexError):
        window.u8(np.array([1000]))


@pytest.mark.parametrize("packet", [IPV4, IPV6])
@pytest.mark.parametrize("vlans", [[], [(VLAN, 5)], [(QINQ, 5), (VLAN, 6)], [(VLAN, 5)] * MAX_SHIMS])
def test_ethernet_with_tags(packet: bytes, vlans: list[tuple[int, int]]) -> None:
    assert found(frames.frame(packet, vlans)) == ([(17, UDP)], {})


def test_packets_keep_their_order() -> None:
    packets = [frames.frame(packet) for packet in (IPV6, IPV4, IPV6, IPV4)]
    given = batch(*packets, frames.arp("10.0.0.1", "10.0.0.2"), packets[0])
    assert find(given, Window(given.data), Counter()).packet.tolist() == [0, 1, 2, 3, 5]


def test_tags_and_labels_beyond_the_last_are_not_looked_behind() -> None:
    assert found(frames.frame(IPV4, [(VLAN, 1)] * (MAX_SHIMS + 1))) == ([], {"not_ip": 1})
    assert found(frames.mpls(IPV4, *range(MAX_SHIMS + 1))) == ([], {"not_ip": 1})


@pytest.mark.parametrize("packet", [IPV4, IPV6])
def test_labels_of_mpls(packet: bytes) -> None:
    assert found(frames.mpls(packet, 16)) == ([(17, UDP)], {})
    assert found(frames.mpls(packet, 16, 17, 18)) == ([(17, UDP)], {})
    assert found(frames.ethernet(frames.mpls(packet, 16)[14:], 0x8848)) == ([(17, UDP)], {})
    assert found(frames.mpls(bytes(4) + frames.frame(packet), 16)) == ([], {"not_ip": 1})


@pytest.mark.parametrize("packet", [IPV4, IPV6])
def test_session_of_pppoe(packet: bytes) -> None:
    frame = frames.pppoe(packet)
    assert found(frame) == ([(17, UDP)], {})
    assert found(frame[14:], link=51) == ([(17, UDP)], {})
    assert found(frame[:15] + b"\xa7" + frame[16:]) == ([], {"not_ip": 1}), "the session ends"
    assert found(frame[:20] + b"\xc0\x21" + frame[22:]) == ([], {"not_ip": 1}), "LCP"


@pytest.mark.parametrize("link", [9, 50])
def test_ppp(link: int) -> None:
    assert found(b"\0\x21" + IPV4, link=link) == ([(17, UDP)], {})
    assert found(b"\xff\x03\0\x57" + IPV6, link=link) == ([(17, UDP)], {})
    assert found(b"\xff\x03\x02\x81" + frames.mpls(IPV4, 16)[14:], link=link) == ([(17, UDP)], {})
    assert found(b"\xff\x03\x80\x21" + bytes(20), link=link) == ([], {"not_ip": 1})
    assert found(b"\xff\x03\0", link=link) == ([], {"truncated": 1})


@pytest.mark.parametrize("packet", [IPV4, IPV6])
def test_linux_cooked_capture(packet: bytes) -> None:
    kind = struct.pack("!H", frames.IPV4 if packet is IPV4 else frames.IPV6)
    v1 = bytes(14) + kind + packet
    v2 = kind + bytes(18) + packet
    assert found(v1, link=113) == ([(17, UDP)], {})
    assert found(v2, link=276) == ([(17, UDP)], {})


def test_linux_cooked_capture_with_a_tag() -> None:
    tag = struct.pack("!HH", 5, frames.IPV4)
    assert found(bytes(14) + struct.pack("!H", VLAN) + tag + IPV4, link=113) == ([(17, UDP)], {})
    assert found(struct.pack("!H", VLAN) + bytes(18) + tag + IPV4, link=276) == ([(17, UDP)], {})


@pytest.mark.parametrize(("link", "before"), [(12, 0), (101, 0), (228, 0), (0, 4), (108, 4)])
def test_links_that_carry_ip_and_nothing_else(link: int, before: int) -> None:
    assert found(bytes(before) + IPV4, link=link) == ([(17, UDP)], {})
    assert found(bytes(before) + IPV6, link=link) == ([(17, UDP)], {})
    assert found(bytes(before) + b"\x50" + bytes(40), link=link) == ([], {"not_ip": 1})


def test_packets_of_all_kinds_in_one_batch() -> None:
    packets = [frames.arp("10.0.0.1", "10.0.0.2"), frames.frame(IPV6), frames.frame(IPV4), frames.frame(IPV6)]
    assert found(*packets) == ([(17, UDP)] * 3, {"not_ip": 1})


def test_no_packets() -> None:
    assert found() == ([], {})


def test_ipv4_options_are_skipped() -> None:
    assert found(frames.frame(frames.ip("10.0.0.1", "10.0.0.2", 17, UDP, options=bytes(40)))) == (
        [(17, UDP)],
        {},
    )


def test_padding_of_a_short_frame_is_cut_off() -> None:
    assert found(frames.frame(IPV4) + bytes(11)) == ([(17, UDP)], {})
    assert found(frames.frame(IPV6) + bytes(11)) == ([(17, UDP)], {})


def test_length_of_zero_is_that_of_a_segment_not_yet_cut() -> None:
    packet = IPV4[:2] + b"\0\0" + IPV4[4:]
    assert found(frames.frame(packet)) == ([(17, UDP)], {})


def test_ipv6_extension_headers_are_skipped() -> None:
    options, authentication, fragment = bytes([0] + [0] * 6), bytes([1] + [0] * 10), bytes(7)
    chain = [(0, options), (60, bytes([1] + [0] * 14)), (43, options), (44, fragment), (51, authentication)]
    assert found(frames.frame(frames.ip("2001:db8::1", "2001:db8::2", 17, UDP, extensions=chain))) == (
        [(17, UDP)],
        {},
    )


def test_ipv6_with_no_next_header() -> None:
    assert found(frames.frame(frames.ip("2001:db8::1", "2001:db8::2", 59, b""))) == ([(59, b"")], {})


def test_only_the_first_fragment_is_kept() -> None:
    first = frames.ip("10.0.0.1", "10.0.0.2", 17, UDP, fragment=0x2000)
    later = frames.ip("10.0.0.1", "10.0.0.2", 17, UDP, fragment=0x0001)
    first6 = frames.ip("2001:db8::1", "2001:db8::2", 17, UDP, extensions=[(44, bytes([0, 0, 1, 0, 0, 0, 0]))])
    later6 = frames.ip("2001:db8::1", "2001:db8::2", 17, UDP, extensions=[(44, bytes([0, 0, 8, 0, 0, 0, 0]))])
    packets = map(frames.frame, (first, later, first6, later6))
    assert found(*packets) == ([(17, UDP)] * 2, {"fragments": 2})


@pytest.mark.parametrize(
    "packet",
    [
        b"\x65" + IPV4[1:],
        b"\x44" + IPV4[1:],
        IPV4[:2] + b"\0\x13" + IPV4[4:],
        b"\x40" + IPV6[1:],
        frames.ip("2001:db8::1", "2001:db8::2", 17, UDP, extensions=[(60, bytes(7))] * 9),
    ],
)
def test_malformed_header(packet: bytes) -> None:
    kind = frames.IPV6 if len(packet) > 60 else frames.IPV4
    assert found(frames.ethernet(packet, kind)) == ([], {"malformed": 1})


def test_every_way_to_end_too_soon() -> None:
    packet = frames.ip("10.0.0.1", "10.0.0.2", 17, UDP, options=bytes(8))
    chain = [(0, bytes(7)), (60, bytes([1] + [0] * 14))]
    packet6 = frames.ip("2001:db8::1", "2001:db8::2", 17, UDP, extensions=chain)
    for whole, headers in ((packet, 28), (packet6, 64)):
        for vlans in list[tuple[int, int]](), [(QINQ, 1), (VLAN, 2)]:
            frame = frames.frame(whole, vlans)
            shortest = 14 + 4 * len(vlans) + headers
            for size in range(shortest):
                kinds = found(frame[:size], frames.frame(IPV4))
                assert kinds[0] == [(17, UDP)], "the packet behind is found all the same"
                assert sum(kinds[1].values()) == 1
                assert size < 14 + 4 * len(vlans) or kinds[1] == {"truncated": 1}
            for size in range(shortest, len(frame)):
                assert found(frame[:size]) == ([(17, UDP[: size - shortest])], {})


@given(st.sampled_from(sorted(LINKS)), st.lists(st.binary(max_size=120), max_size=12))
def test_any_bytes_lie_within_their_packet_or_are_counted(link: int, packets: list[bytes]) -> None:
    given, counts = batch(*packets, link=link), Counter[str]()
    result = find(given, Window(given.data), counts)
    assert len(result.packet) + counts.total() == len(packets)
    for number, ip, _, transport, end in zip(*(column.tolist() for column in result), strict=True):
        _, _, offset, size = given.meta[number].tolist()
        assert offset <= ip < transport <= end <= offset + size
