"""Packets of every kind, broken in every way, through the whole engine.

Nothing may fail, and no event may say what is not there: its addresses stand in the packet that shows it, and
each part of its trail stands in that packet, or in another one between the same two addresses, or where a
stream goes from one to the other.
"""

from __future__ import annotations

import os
import random
import re
import struct
from ipaddress import IPv4Network, IPv6Network, ip_network
from urllib.parse import unquote_to_bytes

import pytest
from frames import packed
from sensing import batch
from variety import BAD, BAD6, HELLO, QUIC, TRAILS, VALID

from d4common.event import Event
from d4sensor.engine import Engine

MUTATIONS = int(os.environ.get("D4_FUZZ", "20000"))
"""Broken packets of one run."""

AT_ONCE = 500
"""Packets that one engine sees: enough for what it remembers to matter."""


def mutated(rng: random.Random) -> bytes:
    """One of the packets, changed in one to four places."""
    packet = bytearray(rng.choice(VALID))
    for _ in range(rng.randint(1, 4)):
        at, size = rng.randrange(len(packet) + 1), rng.randint(1, 16)
        match rng.randrange(7):
            case 0:
                packet[at : at + 1] = rng.randbytes(1)
            case 1:
                packet[at : at + 1] = bytes(
                    (1 << rng.randrange(8) ^ (packet[at] if at < len(packet) else 0),)
                )
            case 2:
                packet[at : at + 1] = rng.choice((b"\0", b"\xff", b"\x7f", b"\x80", b"\xc0", b".", b"/"))
            case 3:
                del packet[at : at + size]
            case 4:
                packet[at:at] = rng.randbytes(size)
            case 5:
                packet[at:at] = packet[at : at + size]
            case _:
                other = rng.choice(VALID)
                packet[at:] = other[rng.randrange(len(other)) :]
    return bytes(packet[: rng.randrange(len(packet) + 1)] if rng.random() < 0.1 else packet)


def untrue(packets: list[bytes], alone: bool = False) -> list[tuple[Event, bytes]]:
    """The events of packets that say what is not there, with the packet that shows them.

    Where a packet stands ``alone``, what is in the others is no excuse.
    """
    found = []
    for _, finding, event in Engine(TRAILS, "sensor").find(batch(*packets)):
        packet = packets[finding.packet]
        seen = packet + HELLO if QUIC in packet else packet
        ends = packed(event.src_ip), packed(event.dst_ip)
        absent = [part for part in parts(event) if not stands(part, seen)]
        if absent and not alone:
            related = b"".join(other for other in packets if all(end in other for end in ends))
            stream = event.proto == "TCP"
            absent = [p for p in absent if not stands(p, related) and not (stream and pieced(p, related))]
        if absent or not all(end in packet for end in ends):
            found.append((event, packet))
    return found


def parts(event: Event) -> list[bytes]:
    """What a trail names: addresses or a network of them, ports, a name, or the pieces of a URL."""
    trail = event.trail
    if network_of(trail):
        named = [trail]
    elif event.type == "DNS":
        named = [re.sub(r"[()]", "", trail)]
    else:
        trail = " ".join(trail.rsplit(":", 1)) if event.type == "IPORT" else trail
        named = re.split(r"[][() /\\?&=]", trail)
    return [unquote_to_bytes(part.lower()) for part in named if part]


def stands(part: bytes, packet: bytes) -> bool:
    """Whether this stands in a packet: as an address (or its network), text, a name of DNS or a port."""
    if network := network_of(part.decode("latin-1")):
        return network.network_address.packed[: network.prefixlen // 8] in packet
    low = packet.lower()
    labels = [bytes((len(label),)) + label for label in part.strip(b".").split(b".") if len(label) < 64]
    compressed = labels != [] and all(label in low for label in labels)
    port = part.isdigit() and int(part) < 65536 and struct.pack("!H", int(part)) in packet
    return compressed or port or any(part in text for text in texts(low))


def pieced(part: bytes, packets: bytes) -> bool:
    """Whether this stands in packets in up to PIECES pieces: a stream goes from one packet to the next."""
    low = texts(packets.lower())
    for _ in range(PIECES):
        longest = max(n for n in range(len(part) + 1) if any(part[:n] in text for text in low))
        part = part[longest:]
        if not part:
            return True
    return False


PIECES = 4


def texts(low: bytes) -> list[bytes]:
    """Packets as text: as they are, with the lengths of labels as dots, and with ``%nn`` as bytes."""
    return [low, low.translate(b"." * 32 + bytes(range(32, 256))), unquote_to_bytes(low)]


def network_of(text: str) -> IPv4Network | IPv6Network | None:
    """The address or network of which this is the text."""
    try:
        return ip_network(text)
    except ValueError:
        return None


def test_valid_packets_show_what_is_there() -> None:
    events = [event for _, _, event in Engine(TRAILS, "sensor").find(batch(*VALID))]
    expected = {"203.0.113.6:4444", *(f"({name}).evil.tld" for name in ("www", "segments"))}
    assert {event.trail for event in events} >= {BAD, BAD6, "(www).hidden.tld", *expected}
    assert untrue(VALID) == []


@pytest.mark.parametrize("link", [1, 0, 9, 12, 51, 113, 276])
def test_mutated_packets_on_other_links(link: int) -> None:
    rng = random.Random(link)
    engine = Engine(TRAILS, "sensor")
    for second in range(MUTATIONS // 50 // AT_ONCE + 1):
        engine.judge(batch(*(mutated(rng) for _ in range(AT_ONCE)), link=link, sec=1_790_000_000 + second))
    assert engine.counts["packets"] >= MUTATIONS // 50


def test_no_mutated_packet_fails_or_shows_what_is_not_there() -> None:
    rng = random.Random(MUTATIONS)
    for _ in range(MUTATIONS // AT_ONCE):
        assert untrue([mutated(rng) for _ in range(AT_ONCE)]) == []


def test_packets_cut_at_every_byte() -> None:
    for packet in VALID:
        assert untrue([packet[:size] for size in range(len(packet))], alone=True) == []
