"""Frames as a pcap file has them."""

from __future__ import annotations

import struct

import pcapy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4common.config import Endpoint
from d4sensor import capture
from d4sensor.source.pcap import LONGEST, filter_without, header, packed_frames, record

FRAMES = st.lists(st.binary(min_size=14, max_size=200), max_size=20)


@given(FRAMES)
def test_libpcap_reads_what_is_given(tmp_path_factory: pytest.TempPathFactory, frames: list[bytes]) -> None:
    records = [record((1_700_000_000, n), len(frame) + n, frame) for n, frame in enumerate(frames)]
    path = tmp_path_factory.getbasetemp() / "frames.pcap"
    path.write_bytes(header(1) + b"".join(records))
    reader = pcapy.open_offline(str(path))
    assert reader.datalink() == 1
    for number, frame in enumerate(frames):
        head, data = reader.next()
        assert data == frame
        assert (head.getts(), head.getlen()) == ((1_700_000_000, number), len(frame) + number)
    assert not reader.next()[1]
    reader.close()


def test_raw_ip_has_another_number_in_files() -> None:
    assert struct.unpack("<IHHiIII", header(12)) == (0xA1B2C3D4, 2, 4, 0, 0, LONGEST, 101)


@given(FRAMES, st.integers(1, 500))
def test_no_record_is_cut(frames: list[bytes], snaplen: int) -> None:
    payloads = [packet.payload for packet in packed_frames(frames, snaplen)]
    assert b"".join(payloads) == b"".join(frames)
    ends = {sum(map(len, frames[:n])) for n in range(len(frames) + 1)}
    assert all(sum(map(len, payloads[: n + 1])) in ends for n in range(len(payloads)))
    assert all(len(payload) <= snaplen or payload in frames for payload in payloads)


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ("", "not ((tcp port 4443 and host 192.0.2.1) or tcp port 9050)"),
        ("udp or icmp", "(udp or icmp) and not ((tcp port 4443 and host 192.0.2.1) or tcp port 9050)"),
    ],
)
def test_what_is_said_with_servers_is_left_out(filter: str, expected: str) -> None:
    servers = [Endpoint("192.0.2.1", 4443), Endpoint("proxy.example", 9050)]
    assert filter_without(filter, servers) == expected
    assert capture.filter_problem(expected) is None


def test_servers_with_ipv6_addresses_are_left_out() -> None:
    assert capture.filter_problem(filter_without("", [Endpoint("2001:db8::1", 4443)])) is None
