"""What TLS shows: the name that a client asks for, the client's fingerprints, the server's certificate."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Iterator

from d4sensor import flow as flows
from d4sensor import tls
from d4sensor.judges import Finding, Verdict, dns_names
from d4sensor.sieve import Traffic
from d4sensor.tls import ClientHello
from d4sensor.trails import Trails

NAMES, CLIENTS = 10_000, 1000
"""How many names, and how many kinds of clients, are remembered with their verdicts."""


class TlsJudge:
    """Judges TLS handshakes, on any port."""

    def __init__(self, trails: Trails, disabled: frozenset[str] = frozenset()) -> None:
        """``disabled`` holds names of heuristics."""
        self._trails = trails
        self._clients = ClientJudge(trails, "t", disabled)

    def judge(self, traffic: Traffic, counts: Counter[str]) -> Iterator[Finding]:
        """The findings among handshakes.

        Counts ``tls_hellos``, those of clients, ``tls_certificates``, and what is neither in
        ``tls_malformed``.
        """
        hellos = 0
        for _, packet, headers, message in traffic.handshakes:
            try:
                if message[0] == tls.CLIENT_HELLO:
                    verdicts = self._clients.of(tls.hello(message))
                    hellos += 1
                else:
                    verdicts = self._of(tls.certificate(message))
                    counts["tls_certificates"] += 1
            except tls.TlsError:
                counts["tls_malformed"] += 1
                continue
            for verdict in verdicts:
                yield Finding(packet, flows.read(*headers), verdict)
        counts["tls_hellos"] += hellos

    def _of(self, certificate: bytes) -> list[Verdict]:
        """The verdicts on a certificate, in DER."""
        key = hashlib.sha1(certificate, usedforsecurity=False).hexdigest()
        verdict = _listed("CERT", key, self._trails)
        return [verdict] if verdict else []


class ClientJudge:
    """Judges what a client says of itself, over TCP (``t``) or over QUIC (``q``)."""

    def __init__(self, trails: Trails, transport: str, disabled: frozenset[str] = frozenset()) -> None:
        self._trails = trails
        self._transport = transport
        self._disabled = disabled
        self._names: dict[str, Verdict | None] = {}
        self._clients: dict[Hashable, list[Verdict]] = {}

    def of(self, hello: ClientHello) -> list[Verdict]:
        """The verdicts on the server's name and on the fingerprints of the client."""
        try:
            named = self._names[hello.server_name]
        except KeyError:
            named = self._by_name(hello.server_name)
        client = tls.traits(hello)
        try:
            known = self._clients[client]
        except KeyError:
            known = self._by_fingerprint(hello, client)
        return [named, *known] if named else known

    def _by_name(self, name: str) -> Verdict | None:
        verdict = None
        if dns_names.is_judged(name):
            verdict = dns_names.of(name, self._trails, self._disabled)
        if len(self._names) >= NAMES:
            self._names.clear()
        self._names[name] = verdict
        return verdict

    def _by_fingerprint(self, hello: ClientHello, client: Hashable) -> list[Verdict]:
        fingerprints = {"JA4": tls.ja4(hello, self._transport)}
        if self._transport == "t":
            fingerprints["JA3"] = tls.ja3(hello)
        verdicts = (_listed(kind, key, self._trails) for kind, key in fingerprints.items())
        if len(self._clients) >= CLIENTS:
            self._clients.clear()
        found = self._clients[client] = [verdict for verdict in verdicts if verdict]
        return found


def _listed(kind: str, key: str, trails: Trails) -> Verdict | None:
    trail = trails.get(key.lower())
    return Verdict(kind, key, trail) if trail else None
