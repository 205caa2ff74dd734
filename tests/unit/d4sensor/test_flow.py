"""Who talks to whom."""

from __future__ import annotations

import frames
import pytest

from d4sensor.flow import Flow, read


def test_addresses_and_ports() -> None:
    packet = frames.ip("10.0.0.1", "10.0.0.2", 17, frames.udp_datagram("10.0.0.1", 1111, "10.0.0.2", 2222))
    flow = read(b"xx" + packet, 2, 17, 22)
    assert flow == Flow(17, "10.0.0.1", 1111, "10.0.0.2", 2222)
    assert (flow.src, flow.dst, flow.protocol_name) == ("10.0.0.1:1111", "10.0.0.2:2222", "UDP")


def test_ipv6_addresses_are_written_as_rfc_5952_has_them() -> None:
    packet = frames.ip("2001:db8:0:0:1:0:0:1", "2001:db8:0:1:1:1:1:1", 6, bytes(20))
    flow = read(packet, 0, 6, 40)
    assert (flow.src_ip, flow.dst_ip) == ("2001:db8::1:0:0:1", "2001:db8:0:1:1:1:1:1")
    assert flow.src == "[2001:db8::1:0:0:1]:0"


@pytest.mark.parametrize(("number", "name"), [(1, "ICMP"), (58, "ICMPV6"), (47, "GRE"), (200, "200")])
def test_protocol_without_ports(number: int, name: str) -> None:
    flow = read(frames.ip("10.0.0.1", "10.0.0.2", number, b"\xff" * 8), 0, number, 20)
    assert flow == Flow(number, "10.0.0.1", 0, "10.0.0.2", 0)
    assert flow.protocol_name == name
