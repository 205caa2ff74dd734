"""/etc/d4/server.conf."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from d4common import config
from d4common.config import Endpoint, RedisSection, option, section
from d4common.session import Rules


@dataclass(frozen=True)
class D4:
    """[d4]: where sensors connect, and what they may send."""

    listen: str = option(config.address, "::", "Address to listen on; :: is IPv4 too.")
    tls_port: int = option(config.port, "4443", "TCP port.")
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

    @property
    def endpoint(self) -> Endpoint:
        """Where to listen."""
        return Endpoint(self.listen, self.tls_port)

    def rules(self) -> Rules:
        """What a connection is held to."""
        return Rules(self.types, frozenset(self.meta_types))

    def key_file(self) -> Path:
        """The key as systemd handed it over (LoadCredential=server.key:…), or where it lies."""
        return _handed_over("server.key", self.key)

    def client_ca_key_file(self) -> Path:
        """The key of the sensors' CA as systemd handed it over (clients.key), or where it lies."""
        return _handed_over("clients.key", self.client_ca_key)


def _handed_over(credential: str, path: Path) -> Path:
    handed = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nonexistent"), credential)
    return handed if handed.exists() else path


@dataclass(frozen=True)
class ServerConfig:
    """The whole file."""

    d4: D4 = section(D4)
    redis: RedisSection = section(RedisSection)
