"""Builds frames, messages and capture files byte by byte, with right lengths and checksums."""

from __future__ import annotations

import hmac
import socket
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

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


def pppoe(packet: bytes) -> bytes:
    """An IP packet in a PPPoE session, on Ethernet (RFC 2516)."""
    protocol = 0x0021 if packet[0] >> 4 == 4 else 0x0057
    return ethernet(struct.pack("!BBHHH", 0x11, 0, 7, len(packet) + 2, protocol) + packet, 0x8864)


def mpls(packet: bytes, *labels: int) -> bytes:
    """An IP packet below a stack of labels, on Ethernet (RFC 3032)."""
    stack = [label << 12 | 64 for label in labels]
    stack[-1] |= 1 << 8
    return ethernet(struct.pack(f"!{len(stack)}I", *stack) + packet, 0x8847)


def gre(
    payload: bytes,
    kind: int,
    checksum: bytes = b"",
    key: bytes = b"",
    sequence: bytes = b"",
    src: str = "192.0.2.1",
    dst: str = "192.0.2.2",
) -> bytes:
    """An IP packet with GRE (RFC 2890); each of the optional fields is four bytes, or not there."""
    flags = bool(checksum) << 15 | bool(key) << 13 | bool(sequence) << 12
    return ip(src, dst, 47, struct.pack("!HH", flags, kind) + checksum + key + sequence + payload)


def vxlan(inner: bytes, src: str = "192.0.2.1", dst: str = "192.0.2.2", flags: int = 0x08) -> bytes:
    """An IP packet with a frame in VXLAN (RFC 7348)."""
    return ip(src, dst, 17, udp_datagram(src, 50000, dst, 4789, bytes((flags, 0, 0, 0, 0, 0, 9, 0)) + inner))


def tagged(packet: bytes) -> dict[str, bytes]:
    """Frames that have an IP packet behind tags, labels and the like, by their names."""
    return {
        "VLAN": frame(packet, [(VLAN, 5)]),
        "QinQ": frame(packet, [(QINQ, 5), (VLAN, 6)]),
        "three VLANs": frame(packet, [(QINQ, 5), (VLAN, 6), (VLAN, 7)]),
        "PPPoE": pppoe(packet),
        "MPLS": mpls(packet, 16),
        "MPLS stack": mpls(packet, 16, 17, 18),
    }


def tunnelled(packet: bytes) -> dict[str, bytes]:
    """Frames that carry an IP packet in another one, by the names of the tunnels."""
    kind = IPV4 if packet[0] >> 4 == 4 else IPV6
    protocol = 4 if kind == IPV4 else 41
    inner, number = frame(packet), bytes((0, 0, 0, 1))
    erspan2, erspan3 = bytes((0x10, 5, 0, 1, 0, 0, 0, 0)), bytes((0x20, 5)) + bytes(9)
    return {
        "GRE": frame(gre(packet, kind)),
        "GRE with all fields": frame(gre(packet, kind, bytes(4), number, number)),
        "GRE over IPv6": frame(gre(packet, kind, src="2001:db8::a", dst="2001:db8::b")),
        "Ethernet in GRE": frame(gre(inner, 0x6558, key=number)),
        "ERSPAN type I": frame(gre(inner, 0x88BE)),
        "ERSPAN type II": frame(gre(erspan2 + inner, 0x88BE, sequence=number)),
        "ERSPAN type III": frame(gre(erspan3 + b"\0" + inner, 0x22EB, sequence=number)),
        "ERSPAN type III, subheader": frame(gre(erspan3 + b"\1" + bytes(8) + inner, 0x22EB, sequence=number)),
        "IP in IPv4": frame(ip("192.0.2.1", "192.0.2.2", protocol, packet)),
        "IP in IPv6": frame(ip("2001:db8::a", "2001:db8::b", protocol, packet)),
        "VXLAN": frame(vxlan(inner)),
        "VXLAN over IPv6": frame(vxlan(inner, "2001:db8::a", "2001:db8::b")),
        "VXLAN in MPLS": mpls(vxlan(inner), 16),
        "three tunnels": frame(vxlan(frame(gre(ip("192.0.2.3", "192.0.2.4", protocol, packet), IPV4)))),
    }


def encapsulated(packet: bytes) -> dict[str, bytes]:
    """Frames that have an IP packet anywhere but right behind Ethernet."""
    return {**tagged(packet), **tunnelled(packet)}


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


def dns_message(*questions: bytes, flags: int = 0x0100, answers: Iterable[bytes] = ()) -> bytes:
    """A DNS message of any questions and answers, as they are."""
    answers = list(answers)
    header = struct.pack("!HHHHHH", 0x1234, flags, len(questions), len(answers), 0, 0)
    return header + b"".join(questions) + b"".join(answers)


def record(kind: int, data: bytes, name: bytes = b"\xc0\x0c") -> bytes:
    """A record, by default about the name of the first question."""
    return name + struct.pack("!HHIH", kind, 1, 300, len(data)) + data


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


def handshake_message(kind: int, body: bytes) -> bytes:
    """A message of the TLS handshake (RFC 8446, 4)."""
    return bytes((kind,)) + len(body).to_bytes(3, "big") + body


def hello_message(
    ciphers: Iterable[int] = (0x1301,), extensions: Iterable[tuple[int, bytes]] = (), version: int = 0x0303
) -> bytes:
    """A ClientHello, with its extensions as numbers and contents, as a message (RFC 8446, 4.1.2)."""
    suites = b"".join(struct.pack("!H", suite) for suite in ciphers)
    offered = b"".join(struct.pack("!HH", kind, len(content)) + content for kind, content in extensions)
    body = struct.pack("!H32xBH", version, 0, len(suites)) + suites + b"\1\0"
    return handshake_message(1, body + (struct.pack("!H", len(offered)) + offered if offered else b""))


def server_name(name: str) -> tuple[int, bytes]:
    """The extension that names the server (RFC 6066, 3)."""
    encoded = name.encode("latin-1")
    return 0, struct.pack("!HBH", len(encoded) + 3, 0, len(encoded)) + encoded


def server_hello(version: int = 0x0303) -> bytes:
    """A ServerHello as a message; version 0x0304 is chosen by an extension (RFC 8446, 4.1.3)."""
    body = struct.pack("!H32xBHB", 0x0303, 0, 0x1301, 0)
    return handshake_message(2, body + (b"\0\6\0\x2b\0\2\3\4" if version == 0x0304 else b""))


def certificate(*certificates: bytes) -> bytes:
    """A Certificate message of TLS 1.2 with certificates in DER (RFC 5246, 7.4.2)."""
    chain = b"".join(len(der).to_bytes(3, "big") + der for der in certificates)
    return handshake_message(11, len(chain).to_bytes(3, "big") + chain)


def records(messages: bytes, size: int = 2**14) -> bytes:
    """Handshake messages in records of ``size`` bytes (RFC 8446, 5.1)."""
    parts = [messages[at : at + size] for at in range(0, len(messages), size)]
    return b"".join(b"\x16\x03\x03" + struct.pack("!H", len(part)) + part for part in parts)


def crypto(offset: int, data: bytes) -> bytes:
    """A CRYPTO frame of QUIC (RFC 9000, 19.6)."""
    return b"\6" + struct.pack("!HH", 0x4000 | offset, 0x4000 | len(data)) + data


def quic_initial(
    frames: bytes,
    version: int = 1,
    connection: bytes = b"\xd4" * 8,
    number: int = 0,
    digits: int = 4,
    token: bytes = b"",
) -> bytes:
    """A client's Initial packet, padded to 1200 bytes (RFC 9001, 5; RFC 9369, 3).

    The packet number has ``digits`` bytes, from 1 to 4; ``token`` has less than 64.
    """
    salt, label, kind = _QUIC[version]
    secret = _expand_label(hmac.digest(bytes.fromhex(salt), connection, "sha256"), "client in", 32)
    key, iv, hp = (
        _expand_label(secret, label + name, size) for name, size in (("key", 16), ("iv", 12), ("hp", 16))
    )
    head = bytes((0xC0 | kind | digits - 1,)) + struct.pack("!IB", version, len(connection)) + connection
    head += bytes((0, len(token))) + token
    frames = frames.ljust(1200 - len(head) - 2 - digits - 16, b"\0")
    head += struct.pack("!H", 0x4000 | digits + len(frames) + 16) + number.to_bytes(digits, "big")
    nonce = iv[:8] + bytes(a ^ b for a, b in zip(iv[8:], struct.pack("!I", number), strict=True))
    sealed = AESGCM(key).encrypt(nonce, frames, head)
    mask = Cipher(algorithms.AES(hp), modes.ECB()).encryptor().update(sealed[4 - digits : 20 - digits])
    covered = bytes(a ^ b for a, b in zip(head[-digits:], mask[1:], strict=False))
    return bytes((head[0] ^ mask[0] & 0x0F,)) + head[1:-digits] + covered + sealed


_QUIC = {
    1: ("38762cf7f55934b34d179ae6a4c80cadccbb7f0a", "quic ", 0x00),
    0x6B3343CF: ("0dede3def700a6db819381be6e269dcbf9bd2ed9", "quicv2 ", 0x10),
}


def _expand_label(secret: bytes, label: str, size: int) -> bytes:
    """HKDF-Expand-Label (RFC 8446, 7.1)."""
    name = b"tls13 " + label.encode()
    info = struct.pack("!HB", size, len(name)) + name + b"\0"
    return HKDFExpand(hashes.SHA256(), size, info).derive(secret)


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
