"""The kinds of frames that d4-sensor reads, and where in each the payload and its type stand."""

from __future__ import annotations

from typing import NamedTuple

IP = 1
"""In place of an EtherType: IPv4 or IPv6, as the version in the packet says. As a length it is too short."""

PPP = 0x880B
PPPOE = 0x8864
"""The session stage of PPPoE."""
BRIDGED = 0x6558
"""A whole Ethernet frame. All three are EtherTypes of IEEE."""


class Link(NamedTuple):
    """How a kind of frame begins: its payload stands behind ``size`` bytes.

    What the payload is, the EtherType at ``type_at`` says, or ``type`` for all frames of the kind.
    """

    size: int
    type_at: int | None = None
    type: int = IP


LINKS = {
    0: Link(4),  # BSD loopback
    1: Link(14, type_at=12),  # Ethernet
    9: Link(0, type=PPP),
    12: Link(0),  # raw IP, as libpcap has it on Linux
    50: Link(0, type=PPP),  # PPP in HDLC-like framing
    51: Link(0, type=PPPOE),
    101: Link(0),  # raw IP
    108: Link(4),  # OpenBSD loopback
    113: Link(16, type_at=14),  # Linux cooked capture v1
    228: Link(0),  # raw IPv4
    229: Link(0),  # raw IPv6
    276: Link(20, type_at=0),  # Linux cooked capture v2
}
"""What is known of each link type, by its number (www.tcpdump.org/linktypes.html)."""
