"""The IP packets of a batch, those inside of tunnels as well: GRE, ERSPAN, IP in IP, VXLAN.

A packet in a tunnel is a row of its own, with the number of the packet that carries it, which keeps its row.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from d4sensor import headers
from d4sensor.capture import Batch
from d4sensor.headers import Datagrams, Payloads, Positions, Window, word
from d4sensor.links import BRIDGED

MAX_NESTING = 3
"""Tunnels inside one another that are looked into."""


def find(batch: Batch, window: Window, counts: Counter[str]) -> Datagrams:
    """The IP packets of a batch: the outermost, then those inside of these, and so on.

    Counts what headers.within leaves out, and in ``nested`` what more than MAX_NESTING tunnels carry.
    """
    found = layer = headers.find(batch, window, counts)
    for _ in range(MAX_NESTING):
        carried = _carried(window, layer)
        if carried is None:
            return found
        layer = headers.within(window, carried, counts)
        found = found.followed_by(layer)
    deeper = _carried(window, layer)
    counts["nested"] += len(deeper.packet) if deeper else 0
    return found


# Protocols of IANA that carry packets; those of IP in IP, with the EtherType of what they carry.
_UDP, _GRE = 17, 47
_IP_IN_IP = {4: 0x0800, 41: 0x86DD}
_TUNNELS = np.zeros(256, dtype=bool)
_TUNNELS[[_GRE, *_IP_IN_IP]] = True

_VXLAN_PORT, _VXLAN_PAYLOAD = 4789, 8 + 8
_ERSPAN2, _ERSPAN3 = 0x88BE, 0x22EB

# In place of an EtherType: nothing that is looked into.
_NOTHING = 1


def _carried(window: Window, datagrams: Datagrams) -> Payloads | None:
    """What the tunnels among these packets carry; None where there are none."""
    tunnel = _TUNNELS.take(datagrams.protocol)
    udp = np.flatnonzero(datagrams.protocol == _UDP)
    tunnel[udp[window.u16(datagrams.transport[udp] + 2) == _VXLAN_PORT]] = True
    if not tunnel.any():
        return None
    packet, _, protocol, at, end = datagrams.where(tunnel)
    kind = np.zeros(len(packet), dtype=np.uint16)
    for number, carried in _IP_IN_IP.items():
        kind[protocol == number] = carried
    for number, read in {_GRE: _gre, _UDP: _vxlan}.items():
        of = np.flatnonzero(protocol == number)
        kind[of], at[of] = read(window, at[of], end[of])
    some = kind != _NOTHING
    return Payloads(packet[some], kind[some], at[some], end[some])


def _gre(window: Window, at: Positions, end: Positions) -> tuple[NDArray[np.uint16], Positions]:
    """What GRE carries, and where (RFC 2784, RFC 2890; ERSPAN: draft-foschiano-erspan-03, 4)."""
    head = window.rows(at, 4)
    flags, kind = word(head, 0), word(head, 2).astype(np.uint16)
    checksum, key, sequence = flags >> 15, flags >> 13 & 1, flags >> 12 & 1
    at = at + 4 + 4 * (checksum + key + sequence)
    # A header of type II comes with a sequence number; type I has neither.
    size2 = np.where(sequence, 8, 0)
    size3 = np.where(window.u8(at + 11) & 1, 12 + 8, 12)
    at += np.select([kind == _ERSPAN2, kind == _ERSPAN3], [size2, size3], 0)
    kind[(kind == _ERSPAN2) | (kind == _ERSPAN3)] = BRIDGED
    # Routing is of an older GRE (RFC 1701), other versions are of PPTP.
    kind[flags & (_ROUTING | _VERSION) != 0] = _NOTHING
    return kind, at


_ROUTING, _VERSION = 0x4000, 0x0007


def _vxlan(window: Window, at: Positions, end: Positions) -> tuple[NDArray[np.uint16], Positions]:
    """What VXLAN carries, and where (RFC 7348, 5); the flag says that the network's number is valid."""
    valid = (window.u8(at + 8) & 0x08 != 0) & (at + _VXLAN_PAYLOAD <= end)
    return np.where(valid, BRIDGED, _NOTHING).astype(np.uint16), at + _VXLAN_PAYLOAD
