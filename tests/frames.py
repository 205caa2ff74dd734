"""Builds frames, messages and capture files byte by byte, with right lengths and checksums."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

IPV4, IPV6, ARP, VLAN, QINQ = 0x0800, 0x86DD, 0x0806, 0x8100, 0x88A8
FIN, SYN, RST, PSH, ACK, ECE, CWR = 0x01, 0x02, 0x04, 0x08, 0x10, 0x40, 0x80
A, NS, PTR, TXT, AAAA, HTTPS = 1, 2, 12, 16, 28, 65

CLIENT_MAC, ROUTER_MAC = bytes.fromhex("02d400000001"), bytes.fromhex("02d400000002")


def packed(address: str) -> bytes:
    """An address in network order, 4 or 16 bytes."""
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ethernet(payload: bytes, kind: int, vlans: Iterable[tuple[int, int]] = ()) -> bytes:
    """A frame; ``vlans`` are tags from the outside in, each an EtherType and a VLAN number."""
    tags = b"".join(struct.pack("!HH", tpid, number) for tpid, number in vlans)
    return ROUTER_MAC + CLIENT_MAC + tags + struct.pack("!H", kind) + payload


def ip(
    src: str,
    dst: str,
    protocol: int,
    payload: bytes,
    options: bytes = b"",
    fragment: int = 0,
    extensions: Iterable[tuple[int, bytes]] = (),
) -> bytes:
    """An IP packet, of the version of its addresses.

    ``options`` (IPv4) are whole words; ``fragment`` is the field of flags and offset (IPv4).
    ``extensions`` (IPv6) are numbers of headers and all their bytes but the first, the next header.
    """
    if ":" in src:
        following = protocol
        for kind, rest in reversed(list(extensions)):
            payload = bytes((following,)) + rest + payload
            following = kind
        head = struct.pack("!IHBB", 6 << 28, len(payload), following, 64)
        return head + packed(src) + packed(dst) + payload
    size = 20 + len(options)
    fixed = (0x40 | size // 4, 0, size + len(payload), 1, fragment, 64, protocol)
    addresses = packed(src) + packed(dst)
    head = struct.pack("!BBHHHBBH", *fixed, 0) + addresses + options
    return struct.pack("!BBHHHBBH", *fixed, checksum(head)) + addresses + options + payload


def frame(packet: bytes, vlans: Iterable[tuple[int, int]] = ()) -> bytes:
    """An IP packet on Ethernet."""
    return ethernet(packet, IPV4 if packet[0] >> 4 == 4 else IPV6, vlans)


def _summed(src: str, dst: str, protocol: int, segment: bytes, at: int) -> bytes:
    """A segment with its checksum, over the pseudo header too, at an offset where zeros are."""
    pseudo = packed(src) + packed(dst) + struct.pack("!II", len(segment), protocol)
    return segment[:at] + struct.pack("!H", checksum(pseudo + segment)) + segment[at + 2 :]


def tcp_segment(
    src: str,
    sport: int,
    dst: str,
    dport: int,
    payload: bytes = b"",
    flags: int = PSH | ACK,
    seq: int = 1,
    ack: int = 1,
) -> bytes:
    """A TCP segment without options."""
    head = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, 5 << 4, flags, 64240, 0, 0)
    return _summed(src, dst, 6, head + payload, 16)


def udp_datagram(src: str, sport: int, dst: str, dport: int, payload: bytes = b"") -> bytes:
    """A UDP datagram."""
    head = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0)
    return _summed(src, dst, 17, head + payload, 6)


def tcp(
    src: str, sport: int, dst: str, dport: int, payload: bytes = b"", flags: int = PSH | ACK, seq: int = 1
) -> bytes:
    """A TCP segment on Ethernet."""
    return frame(ip(src, dst, 6, tcp_segment(src, sport, dst, dport, payload, flags, seq)))


def conversation(
    client: str, sport: int, server: str, dport: int, *turns: bytes, vlans: Iterable[tuple[int, int]] = ()
) -> list[bytes]:
    """A whole TCP connection on Ethernet: client and server speak in turns, in segments of 1400 bytes."""
    ends = ((client, sport, server, dport), (server, dport, client, sport))
    sent = [1000, 5000]
    frames = []

    def send(who: int, flags: int, payload: bytes = b"") -> None:
        src, _, dst, _ = ends[who]
        segment = tcp_segment(*ends[who], payload, flags, sent[who], sent[1 - who] if flags & ACK else 0)
        frames.append(frame(ip(src, dst, 6, segment), vlans))
        sent[who] += len(payload) + bool(flags & (SYN | FIN))

    send(0, SYN)
    send(1, SYN | ACK)
    send(0, ACK)
    for number, turn in enumerate(turns):
        for at in range(0, len(turn), 1400):
            send(number % 2, PSH | ACK, turn[at : at + 1400])
        send(1 - number % 2, ACK)
    send(0, FIN | ACK)
    send(1, FIN | ACK)
    send(0, ACK)
    return frames


def syn(src: str, sport: int, dst: str, dport: int, flags: int = SYN) -> bytes:
    """The first segment of a connection, on Ethernet."""
    return tcp(src, sport, dst, dport, b"", flags)


def udp(src: str, sport: int, dst: str, dport: int, payload: bytes = b"") -> bytes:
    """A UDP datagram on Ethernet."""
    return frame(ip(src, dst, 17, udp_datagram(src, sport, dst, dport, payload)))


def ping(src: str, dst: str, reply: bool = False) -> bytes:
    """An echo request, or the reply, on Ethernet."""
    data = struct.pack("!HH", 77, 1) + bytes(range(48))
    if ":" in src:
        message = bytes((129 if reply else 128, 0, 0, 0)) + data
        return frame(ip(src, dst, 58, _summed(src, dst, 58, message, 2)))
    message = bytes((0 if reply else 8, 0, 0, 0)) + data
    message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
    return frame(ip(src, dst, 1, message))


def arp(src: str, dst: str) -> bytes:
    """The question who has an address, on Ethernet, padded to the shortest frame."""
    head = struct.pack("!HHBBH", 1, IPV4, 6, 4, 1)
    return ethernet(head + CLIENT_MAC + packed(src) + bytes(6) + packed(dst) + bytes(18), ARP)


def dns_name(name: str) -> bytes:
    """A name as DNS writes it."""
    return b"".join(bytes((len(label),)) + label.encode("latin-1") for label in name.split(".")) + b"\0"


def question(name: str, kind: int = A, class_: int = 1) -> bytes:
    """A question."""
    return dns_name(name) + struct.pack("!HH", kind, class_)


def dns(name: str, kind: int = A, class_: int = 1, flags: int = 0x0100, answer: bytes = b"") -> bytes:
    """A DNS message with one question and, where ``answer`` is given, one record with these bytes."""
    record = struct.pack("!HHHIH", 0xC00C, kind, 1, 300, len(answer)) + answer if answer else b""
    return (
        struct.pack("!HHHHHH", 0x1234, flags, 1, bool(answer), 0, 0) + question(name, kind, class_) + record
    )


def query(src: str, name: str, kind: int = A, server: str = "10.0.0.53", sport: int = 40000) -> bytes:
    """A DNS query to a server, on Ethernet."""
    return udp(src, sport, server, 53, dns(name, kind))


def request(host: str, target: str, method: str = "GET", body: bytes = b"") -> bytes:
    """An HTTP request; without ``host`` it has no such header."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}" if host else "", "User-Agent: Mozilla/5.0"]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(filter(None, lines)).encode() + b"\r\n\r\n" + body


def client_hello(name: str) -> bytes:
    """A TLS ClientHello that asks for a server's name, otherwise a short one (RFC 8446, RFC 6066)."""
    encoded = name.encode()
    sni = struct.pack("!HHHBH", 0, len(encoded) + 5, len(encoded) + 3, 0, len(encoded)) + encoded
    hello = struct.pack("!H32xB", 0x0303, 0) + b"\0\2\x13\x01" + b"\1\0" + struct.pack("!H", len(sni)) + sni
    handshake = b"\1" + len(hello).to_bytes(3, "big") + hello
    return b"\x16\x03\x01" + struct.pack("!H", len(handshake)) + handshake


def pcap(packets: Iterable[tuple[float, bytes]], link: int = 1) -> Iterator[bytes]:
    """A capture file in pieces: packets with their times, in seconds since the epoch, to the microsecond."""
    yield struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, link)
    for when, data in packets:
        sec, usec = divmod(round(when * 1_000_000), 1_000_000)
        yield struct.pack("<IIII", sec, usec, len(data), len(data)) + data


def write_pcap(path: Path, packets: Iterable[tuple[float, bytes]], link: int = 1) -> None:
    """Writes a capture file."""
    with path.open("wb") as file:
        file.writelines(pcap(packets, link))
