"""Writes demo/sample.pcap: an ordinary morning in a small network, and a dozen packets that trails name.

Always the same bytes. Addresses of servers are those reserved for documentation. What d4-sensor must say of
it is in demo/expected.txt.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from tests import frames
from tests.frames import AAAA, HTTPS, PTR, QINQ, VLAN, A, client_hello, conversation, dns, request

SAMPLE = Path(__file__).parent / "sample.pcap"

START = 1_790_000_000
"""Seconds since the epoch of the first packet."""

CLIENTS = [f"10.20.30.{n}" for n in range(11, 19)]
CLIENTS6 = [f"2001:db8:1::{n:x}" for n in range(11, 15)]
RESOLVER, RESOLVER6 = "10.20.30.1", "2001:db8:1::1"
SITES = {
    "www.debian.org": "192.0.2.10",
    "deb.debian.org": "192.0.2.11",
    "packages.debian.org": "192.0.2.12",
    "en.wikipedia.org": "192.0.2.20",
    "upload.wikimedia.org": "192.0.2.21",
    "www.kernel.org": "192.0.2.30",
    "time.cloud.invalid": "192.0.2.40",
}


def main() -> None:
    """Writes the sample."""
    frames.write_pcap(SAMPLE, sample())


def sample() -> list[tuple[float, bytes]]:
    """The packets of the sample with their times."""
    rng = random.Random(7)
    scenes = [*background(rng), *trouble()]
    # Scenes begin in any order, a quarter of a second apart; their packets follow at a hundredth.
    rng.shuffle(scenes)
    packets = [
        (START + 0.25 * begin + 0.01 * n + rng.random() / 1000, packet)
        for begin, scene in enumerate(scenes)
        for n, packet in enumerate(scene)
    ]
    return sorted(packets)


def background(rng: random.Random) -> Iterator[list[bytes]]:
    """Scenes that no trail names."""
    for n in range(24):
        name = rng.choice(list(SITES))
        client, port = rng.choice(CLIENTS), 40000 + n
        yield lookup(client, port, name, A, frames.packed(SITES[name]))
        yield lookup(client, port + 100, name, rng.choice((AAAA, HTTPS)))
        answer = b"\x16\x03\x03\x00\x7a\x02" + rng.randbytes(rng.randrange(600, 1600))
        yield conversation(client, port, SITES[name], 443, client_hello(name), answer)
    for n in range(6):
        page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>" + b"Lorem ipsum. " * 40
        target = f"/debian/dists/trixie/InRelease?try={n}"
        site = "deb.debian.org"
        yield conversation(rng.choice(CLIENTS), 41000 + n, SITES[site], 80, request(site, target), page)
    for n, client in enumerate(CLIENTS6):
        yield [
            frames.udp(client, 42000 + n, RESOLVER6, 53, dns("www.kernel.org", AAAA)),
            frames.udp(RESOLVER6, 53, client, 42000 + n, dns("www.kernel.org", AAAA, flags=0x8180)),
        ]
        yield conversation(client, 42100 + n, "2001:db8:2::30", 443, client_hello("www.kernel.org"))
        yield [frames.ping(client, RESOLVER6), frames.ping(RESOLVER6, client, reply=True)]
    for n, client in enumerate(CLIENTS):
        yield [frames.arp(client, RESOLVER)]
        yield [frames.udp(client, 123, "192.0.2.40", 123, b"\x23" + bytes(47))]
        yield lookup(client, 43000 + n, f"{n + 11}.30.20.10.in-addr.arpa", PTR)
        yield lookup(client, 43100 + n, "printer.local", A)


def trouble() -> Iterator[list[bytes]]:
    """Scenes that trails name."""
    yield [frames.ping("10.20.30.11", "136.161.101.53")]
    yield lookup("10.20.30.12", 50001, "malware.d4-project-test.invalid", A)
    yield lookup("10.20.30.12", 50002, "cdn.malware.d4-project-test.invalid", AAAA)
    yield lookup("10.20.30.13", 50003, "mail.login-d4-demo.invalid", HTTPS)
    yield [frames.syn("10.20.30.13", 50004, "203.0.113.10", 4444, frames.SYN | frames.ECE | frames.CWR)]
    yield [frames.udp("10.20.30.14", 50005, "198.51.100.66", 5353, b"hello")]
    yield [frames.udp("10.20.30.14", 50006, "198.51.100.67", 4444, b"hello")]
    yield [frames.syn("2001:db8:1::b", 50007, "2001:db8:d4::66", 443)]
    yield [frames.syn("2001:db8:1::c", 50008, "2001:db8:d4:2::10", 8443)]
    page = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    stage = request("files.d4-demo.invalid", "/loader/stage2.bin")
    yield conversation("10.20.30.15", 50009, "192.0.2.70", 80, stage, page)
    post = request("shop.d4-somewhere.invalid:8080", "/d4demo/gate.php?id=7", "POST", b"user=a&password=b")
    yield conversation("10.20.30.15", 50010, "192.0.2.71", 8080, post, page)
    yield conversation("10.20.30.16", 50011, "203.0.113.77", 80, request("203.0.113.77", "/account"), page)
    query = frames.udp_datagram("10.20.30.17", 50012, RESOLVER, 53, dns("c2.d4-demo.invalid"))
    yield [frames.frame(frames.ip("10.20.30.17", RESOLVER, 17, query), [(VLAN, 30)])]
    scan = frames.tcp_segment("203.0.113.200", 50013, "10.20.30.18", 22, flags=frames.SYN)
    yield [frames.frame(frames.ip("203.0.113.200", "10.20.30.18", 6, scan), [(QINQ, 100), (VLAN, 30)])]


def lookup(client: str, port: int, name: str, kind: int, answer: bytes = b"") -> list[bytes]:
    """A query, and the resolver's answer: without ``answer`` there is no such name."""
    flags = 0x8180 if answer else 0x8183
    return [
        frames.udp(client, port, RESOLVER, 53, dns(name, kind)),
        frames.udp(RESOLVER, 53, client, port, dns(name, kind, flags=flags, answer=answer)),
    ]


if __name__ == "__main__":
    main()
