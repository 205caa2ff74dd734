"""Who talks to whom in one datagram, as an event says it."""

from __future__ import annotations

from typing import NamedTuple

from d4sensor.indicator import address_text, endpoint_text
from d4sensor.sieve import TCP, UDP


class Flow(NamedTuple):
    """Source and destination of a datagram. A port is 0 where the protocol has none."""

    protocol: int
    src_ip: str
    src_port: int
    dst_ip: str
    dst_port: int

    @property
    def src(self) -> str:
        """The key of source address and port in trails."""
        return endpoint_text(self.src_ip, self.src_port)

    @property
    def dst(self) -> str:
        """The key of destination address and port in trails."""
        return endpoint_text(self.dst_ip, self.dst_port)

    @property
    def protocol_name(self) -> str:
        """The protocol as an event names it, by its number where it has no name here."""
        return _NAMES.get(self.protocol, str(self.protocol))


def read(data: bytes, ip: int, protocol: int, transport: int) -> Flow:
    """The flow of a datagram whose headers the sieve has found in ``data``, whole, at these offsets."""
    if data[ip] >> 4 == 4:
        src, dst = data[ip + 12 : ip + 16], data[ip + 16 : ip + 20]
    else:
        src, dst = data[ip + 8 : ip + 24], data[ip + 24 : ip + 40]
    src_port = dst_port = 0
    if protocol in (TCP, UDP):
        src_port = int.from_bytes(data[transport : transport + 2], "big")
        dst_port = int.from_bytes(data[transport + 2 : transport + 4], "big")
    return Flow(protocol, address_text(src), src_port, address_text(dst), dst_port)


# As IPPROTO_* in netinet/in.h, which is where Maltrail's names come from.
_NAMES = {
    1: "ICMP",
    2: "IGMP",
    4: "IPIP",
    6: "TCP",
    8: "EGP",
    17: "UDP",
    33: "DCCP",
    41: "IPV6",
    46: "RSVP",
    47: "GRE",
    50: "ESP",
    51: "AH",
    58: "ICMPV6",
    59: "NONE",
    92: "MTP",
    98: "ENCAP",
    103: "PIM",
    108: "COMP",
    132: "SCTP",
    136: "UDPLITE",
    137: "MPLS",
    255: "RAW",
}
