"""Traffic for benchmarks: a capture of a busy network, the same one for the same seed.

A quarter of the packets is DNS; the rest are web requests and answers, TLS, bulk data, scans and ICMP.
About two packets in a thousand concern a name, an address or a path of trail_lines().
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from tests import frames

START = 1_790_000_000
"""Seconds since the epoch of the first packet; a packet follows every two microseconds."""

BAD_NAMES = [f"evil{n}.d4-bench.invalid" for n in range(200)]
BAD_ADDRESSES = [f"203.0.113.{n}" for n in range(1, 255)]
BAD_PATHS = [f"/panel{n}/gate.php" for n in range(100)]


def write(path: Path, count: int) -> None:
    """Writes a capture file of ``count`` packets."""
    frames.write_pcap(path, packets(count))


def trail_lines() -> list[str]:
    """The trails that the traffic touches."""
    return BAD_NAMES + BAD_ADDRESSES + [f"{address}:4444" for address in BAD_ADDRESSES] + BAD_PATHS


def packets(count: int, seed: int = 4) -> Iterator[tuple[float, bytes]]:
    """``count`` packets with their times."""
    network = _Network(random.Random(seed))
    made = 0
    while True:
        for packet in network.exchange():
            yield START + made * 2e-6, packet
            made += 1
            if made == count:
                return


class _Network:
    """Hosts at work."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._bulk = rng.randbytes(64 * 1024)
        self._clients = [self._address("10.0") for _ in range(400)]
        self._clients += [self._address("2001:db8:1") for _ in range(40)]
        self._servers = [self._address(rng.choice(("23.1", "104.2", "142.3", "151.4"))) for _ in range(3000)]
        self._servers6 = [self._address("2001:db8:2") for _ in range(300)]
        self._names = [
            f"{self._word()}.{self._word()}.{rng.choice(('com', 'net', 'org'))}" for _ in range(4000)
        ]

    def exchange(self) -> list[bytes]:
        """The packets of one exchange between two hosts."""
        rng = self._rng
        kinds = {self._dns: 36, self._http: 3, self._tls: 7, self._scan: 8, self._ping: 1}
        (make,) = rng.choices(list(kinds), list(kinds.values()))
        client = rng.choice(self._clients)
        server = rng.choice(self._servers6 if ":" in client else self._servers)
        return make(client, server, rng.randrange(1024, 65535))

    def _dns(self, client: str, server: str, port: int) -> list[bytes]:
        rng = self._rng
        luck = rng.random()
        name = rng.choice(BAD_NAMES if luck < 0.004 else self._names)
        if luck < 0.2:
            name = f"{self._word()}.{name}"
        kind = rng.choice((frames.A, frames.A, frames.AAAA, frames.HTTPS))
        resolver = "2001:db8::53" if ":" in client else "10.0.0.53"
        answer = frames.dns(name, kind, flags=0x8180, answer=rng.randbytes(16))
        return [
            frames.udp(client, port, resolver, 53, frames.dns(name, kind)),
            frames.udp(resolver, 53, client, port, answer),
        ]

    def _http(self, client: str, server: str, port: int) -> list[bytes]:
        rng = self._rng
        path = rng.choice(BAD_PATHS) if rng.random() < 0.01 else f"/{self._word()}/{self._word()}.html"
        if rng.random() < 0.3:
            path += f"?id={rng.randrange(10**6)}&s={self._word()}"
        answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + self._some(600)
        return [
            *self._opening(client, server, port, 80),
            frames.tcp(client, port, server, 80, frames.request(rng.choice(self._names), path)),
            frames.tcp(server, 80, client, port, answer),
            *self._stream(client, server, port, 80, rng.randrange(1, 12)),
        ]

    def _tls(self, client: str, server: str, port: int) -> list[bytes]:
        rng = self._rng
        return [
            *self._opening(client, server, port, 443),
            frames.tcp(client, port, server, 443, frames.client_hello(rng.choice(self._names))),
            frames.tcp(server, 443, client, port, b"\x16\x03\x03" + self._some(1200)),
            *self._stream(client, server, port, 443, rng.randrange(2, 20)),
        ]

    def _scan(self, client: str, server: str, port: int) -> list[bytes]:
        rng = self._rng
        if ":" not in client and rng.random() < 0.02:
            server = rng.choice(BAD_ADDRESSES)
        return [frames.syn(client, port, server, rng.randrange(1, 65535)) for _ in range(3)]

    def _ping(self, client: str, server: str, port: int) -> list[bytes]:
        return [frames.ping(client, server), frames.ping(server, client, reply=True)]

    def _opening(self, client: str, server: str, port: int, service: int) -> list[bytes]:
        return [
            frames.syn(client, port, server, service),
            frames.tcp(server, service, client, port, flags=frames.SYN | frames.ACK),
        ]

    def _stream(self, client: str, server: str, port: int, service: int, count: int) -> Iterator[bytes]:
        """Data from the server, and an acknowledgement for every other segment."""
        for n in range(count):
            data = b"\x17\x03\x03" + self._some(self._rng.choice((300, 900, 1400, 1400)))
            yield frames.tcp(server, service, client, port, data)
            if n % 2:
                yield frames.tcp(client, port, server, service, flags=frames.ACK)

    def _some(self, size: int) -> bytes:
        at = self._rng.randrange(len(self._bulk) - size)
        return self._bulk[at : at + size]

    def _word(self) -> str:
        return "".join(
            self._rng.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=self._rng.randrange(4, 12))
        )

    def _address(self, network: str) -> str:
        first, second = self._rng.randrange(1, 255), self._rng.randrange(1, 255)
        return f"{network}:{first:x}::{second:x}" if ":" in network else f"{network}.{first}.{second}"
