"""Packets of every kind that d4-sensor reads, and trails that many of them show."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import frames
from frames import packed
from sensing import trails_of

TRAILS = trails_of(
    {
        "evil.tld": "a family (malware)",
        "hidden.tld": "a family (malware)",
        "2001:db8:bad::1": "a family (malware)",
        "203.0.113.5": "a family (malware)",
        "203.0.113.6:4444": "a family (malware)",
        "198.51.100.0/24": "a network (malware)",
        "/panel/gate.php": "a panel (malware)",
        "evil.tld/login?id=": "a page (malware)",
    }
)
CLIENT, CLIENT6 = "10.0.0.1", "2001:db8::1"
BAD, BAD6 = "203.0.113.5", "2001:db8:bad::1"
HELLO = frames.hello_message(extensions=[frames.server_name("www.hidden.tld"), (43, b"\2\3\4")])
QUIC = frames.quic_initial(frames.crypto(0, HELLO))


def plain() -> Iterator[bytes]:
    """Packets that show each trail, and others, on Ethernet alone."""
    for client, server, resolver in ((CLIENT, BAD, "10.0.0.53"), (CLIENT6, BAD6, "2001:db8::53")):
        yield frames.ping(client, server)
        yield frames.ping(server, client, reply=True)
        yield frames.syn(client, 40000, server, 443)
        yield frames.udp(client, 40000, server, 9, b"data")
        for kind in (frames.A, frames.AAAA, frames.NS, frames.PTR, frames.TXT, frames.HTTPS):
            yield frames.query(client, "www.evil.tld", kind, resolver)
        yield frames.query(client, "a.rather.long.name.of.evil.tld", frames.A, server)
        answer = frames.dns("www.evil.tld", flags=0x8180, answer=packed("198.51.100.7"))
        yield frames.udp(resolver, 53, client, 40000, answer)
        yield frames.udp(resolver, 53, client, 40000, frames.dns("no.such.evil.tld", flags=0x8183))
        yield frames.udp(
            client, 5353, "ff02::fb" if ":" in client else "224.0.0.251", 5353, frames.dns("evil.tld")
        )
        message = frames.dns("www.evil.tld")
        yield frames.tcp(client, 40001, resolver, 53, struct.pack("!H", len(message)) + message)
        for request in (
            frames.request("www.site.org", "/panel/gate.php?x=1"),
            frames.request("evil.tld", "/login?id=5&s=7"),
            frames.request("evil.tld", "http://evil.tld//panel//gate.php"),
            frames.request("evil.tld", "/login", "POST", b"id=5"),
            frames.request("evil.tld:443", "evil.tld:443", "CONNECT"),
            frames.request("", "/a/panel/../etc/passwd?q=<script>alert(1)</script>"),
        ):
            yield frames.tcp(client, 40002, server, 80, request)
        yield from frames.conversation(
            client,
            40003,
            server,
            8080,
            frames.request("evil.tld", "/panel/gate.php"),
            b"HTTP/1.1 200 OK\r\n\r\n",
        )
        yield frames.tcp(client, 40004, server, 443, frames.client_hello("www.evil.tld"))
        yield from segments(client, server, 443, frames.client_hello("segments.evil.tld"))
        yield from segments(client, server, 80, frames.request("evil.tld", "/panel/gate.php?segments"))
        flight = frames.server_hello() + frames.certificate(bytes(100), bytes(50))
        yield frames.tcp(server, 443, client, 40006, frames.records(flight))
        yield frames.tcp(client, 40006, server, 80, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        yield frames.udp(client, 40006, server, 443, QUIC)
        answers = [frames.record(frames.A, packed(BAD)), frames.record(frames.AAAA, packed(BAD6))]
        questions = [frames.question("good.org"), frames.question("two.evil.tld")]
        yield frames.udp(
            resolver, 53, client, 53, frames.dns_message(*questions, flags=0x8180, answers=answers)
        )
        yield frames.udp(client, 40007, resolver, 9953, frames.dns_message(*questions))
    yield frames.tcp(CLIENT, 40005, "203.0.113.6", 4444, flags=frames.ACK)
    yield frames.udp(CLIENT, 40005, "203.0.113.6", 4444, b"data")
    yield frames.frame(frames.ip(CLIENT, "198.51.100.9", 132, bytes(12), options=bytes(8)))
    yield frames.frame(frames.ip(CLIENT, BAD, 17, frames.udp_datagram(CLIENT, 1, BAD, 2), fragment=0x2000))
    yield frames.frame(frames.ip(CLIENT, BAD, 17, bytes(8), fragment=1))
    chain = [(0, bytes(7)), (44, bytes(7)), (51, bytes([1] + [0] * 10)), (60, bytes(7))]
    datagram = frames.udp_datagram(CLIENT6, 1, BAD6, 2)
    yield frames.frame(frames.ip(CLIENT6, BAD6, 17, datagram, extensions=chain))
    yield frames.arp(CLIENT, "10.0.0.2")


def segments(client: str, server: str, port: int, data: bytes) -> Iterator[bytes]:
    """What a client says, in segments of forty bytes."""
    for at in range(0, len(data), 40):
        yield frames.tcp(client, 40006, server, port, data[at : at + 40], seq=1 + at)


def every() -> list[bytes]:
    """These, and some of them in each encapsulation."""
    found = list(plain())
    for frame in (
        frames.query(CLIENT, "www.evil.tld"),
        frames.syn(CLIENT6, 40000, BAD6, 443),
        frames.tcp(CLIENT, 40002, BAD, 80, frames.request("evil.tld", "/panel/gate.php")),
    ):
        found += frames.encapsulated(frame[14:]).values()
    return found


VALID = every()
"""All of it, in an order in which connections make sense."""
