"""/etc/d4/server.conf."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from d4common import config
from d4common.config import Endpoint, option, section
from d4common.packet import CHUNK_NAMES
from d4common.redis_url import RedisSection
from d4common.session import Rules


def _secret(value: str) -> str:
    """A shared secret that cannot be guessed."""
    if len(value) < 16:
        raise ValueError("must have at least 16 characters")
    return value


def _names(value: str) -> tuple[str, ...]:
    """Words, or none at all."""
    return config.words(value) if value else ()


@dataclass(frozen=True)
class D4:
    """[d4]: where sensors connect, and what they may send."""

    listen: str = option(config.address, "::", "Address to listen on; :: is IPv4 too.")
    tls_port: int = option(config.port, "4443", "TCP port.")
    workers: int = option(config.integer(1, 64), "1", "Processes that serve connections.")
    certificate: Path = option(
        config.path, "/etc/d4/tls/server.pem", "Certificate in PEM form, the server's own first."
    )
    key: Path = option(config.path, "/etc/d4/tls/server.key", "The certificate's private key.")
    ca: Path = option(
        config.path, "/etc/d4/ca.pem", "CA that signed the certificate; sensors that enrol are given it."
    )
    client_certificates: bool = option(
        config.boolean, "no", "Whether sensors need a certificate beside their key."
    )
    client_ca: Path = option(
        config.path, "/etc/d4/tls/clients.pem", "CA that signs the sensors' certificates."
    )
    client_ca_key: Path = option(config.path, "/etc/d4/tls/clients.key", "That CA's private key.")
    types: frozenset[int] = option(config.integers(1, 254), "1 2 3 4 5 6 7 8 254", "D4 types to accept.")
    meta_types: tuple[str, ...] = option(
        config.words,
        "maltrail ja3-jl d4-telemetry fascia",
        "What a meta header may say that type 254 holds.",
    )
    chunk_types: tuple[str, ...] = option(
        _names, "", "Those of meta_types whose records are not lines, but bytes, stored as they come."
    )
    metrics: Path | Endpoint | None = option(
        config.local_place,
        "/run/d4-server/metrics.sock",
        "Where metrics are served: the path of a Unix socket, a loopback HOST:PORT, or no.",
    )
    registration: str = option(
        config.choice("approved", "shared-secret"),
        "approved",
        "Which sensors may connect: approved ones alone, or whoever signs with the shared secret too.",
    )
    shared_secret: str | None = option(
        _secret, None, "The key of sensors that are not known yet, at least 16 characters.", secret=True
    )
    statistics_days: int = option(
        config.integer(1, 3650), "90", "Days for which the counts of each sensor and day are kept."
    )

    def problems(self) -> Iterator[str]:
        """What single options do not show."""
        for name in sorted(set(self.chunk_types) - set(self.meta_types)):
            yield f"chunk_types has {name}, which is not one of meta_types"
        if self.registration == "shared-secret" and self.shared_secret is None:
            yield "registration = shared-secret needs a shared_secret"

    def secret(self) -> bytes | None:
        """The shared secret where sensors may register by it."""
        wanted = self.shared_secret if self.registration == "shared-secret" else None
        return wanted.encode() if wanted else None

    @property
    def endpoint(self) -> Endpoint:
        """Where to listen."""
        return Endpoint(self.listen, self.tls_port)

    def rules(self) -> Rules:
        """What a connection is held to."""
        return Rules(self.types, frozenset(self.meta_types), CHUNK_NAMES.union(self.chunk_types))

    def key_file(self) -> Path:
        """The key as systemd handed it over (LoadCredential=server.key:…), or where it lies."""
        return config.credential("server.key") or self.key

    def client_ca_key_file(self) -> Path:
        """The key of the sensors' CA as systemd handed it over (clients.key), or where it lies."""
        return config.credential("clients.key") or self.client_ca_key


@dataclass(frozen=True)
class Limits:
    """[limits]: what each worker takes from whom; an address is an IPv4 address or an IPv6 /64."""

    connections: int = option(config.integer(1, 1_000_000), "10000", "Connections at once.")
    address_connections: int = option(
        config.integer(1, 1_000_000), "1000", "Connections at once from one address."
    )
    address_rate: int = option(
        config.integer(1, 1_000_000), "2000", "New connections in a minute from one address."
    )
    address_bytes: int = option(
        config.bytes_size("0", "10G"), "0", "Bytes in a second of one address; 0 is without limit."
    )
    memory: int = option(
        config.bytes_size("8M", "64G"), "256M", "Bytes that connections hold of what has not come whole."
    )
    sensor_rate: int = option(
        config.bytes_size("0", "10G"), "0", "Bytes in a second of one sensor; 0 is without limit."
    )
    one_connection: bool = option(
        config.boolean, "no", "Whether a new connection of a sensor closes its former one of the same type."
    )
    replay_window: float = option(
        config.seconds, "0", "Time in which a packet of plain D4 is taken once only; 0 is never looked at."
    )
    clock_tolerance: float = option(
        config.seconds, "1h", "How far packets of plain D4 may be off the server's time before it says so."
    )


@dataclass(frozen=True)
class Web:
    """[web]: the page and the API for administrators, with the certificate of [d4]."""

    listen: str = option(config.address, "::", "Address to listen on; :: is IPv4 too.")
    https_port: int = option(config.port, "7000", "TCP port.")

    @property
    def endpoint(self) -> Endpoint:
        """Where to listen."""
        return Endpoint(self.listen, self.https_port)


def _webhook(value: str) -> str:
    """Where alerts are posted to."""
    if not re.fullmatch(r"https://(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(:[0-9]{1,5})?(/[!-~]*)?", value, re.ASCII):
        raise ValueError("must be https://HOST/PATH")
    return value


def _addresses(value: str) -> tuple[str, ...]:
    """Mail addresses, none of which sendmail can take for an option."""
    found = config.words(value)
    for address in found:
        if not re.fullmatch(r"[^@\s-][^@\s]*(@[^@\s]+)?", address):
            raise ValueError(f"must be mail addresses such as ops@example.org, which {address} is not")
    return found


@dataclass(frozen=True)
class Monitoring:
    """[monitoring]: who is told of sensors that fall silent, beside the journal."""

    webhook: str | None = option(
        _webhook, None, "https://HOST/PATH to which alerts are posted as JSON.", secret=True
    )
    mail_to: tuple[str, ...] | None = option(
        _addresses, None, "Addresses to which alerts are mailed by sendmail."
    )


@dataclass(frozen=True)
class ServerRedis(RedisSection):
    """[redis] of the server, which alone stores what sensors are told to be safe."""

    replicas: int = option(
        config.integer(0, 9),
        "0",
        "Replicas that must have what is stored before a sensor is told so; 1 where a replica may take over.",
    )


@dataclass(frozen=True)
class ServerConfig:
    """The whole file."""

    d4: D4 = section(D4)
    limits: Limits = section(Limits)
    web: Web = section(Web)
    monitoring: Monitoring = section(Monitoring)
    redis: ServerRedis = section(ServerRedis)

    def problems(self) -> Iterator[tuple[str, str]]:
        """What single sections do not show, with the section where it is to be mended."""
        alone = {"one_connection": self.limits.one_connection, "replay_window": self.limits.replay_window}
        for name, is_set in alone.items():
            if is_set and self.d4.workers > 1:
                yield "limits", f"{name} needs [d4] workers = 1, since no worker knows what came to another"
