"""/etc/d4/collector.conf."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from d4common.config import Endpoint, address, option, path, port, seconds, section

LEAST_MAX_AGE = 60
"""Seconds: with less, events that were only a moment on their way would be refused."""


@dataclass(frozen=True)
class Udp:
    """[udp]: where events come in, and which."""

    listen: str = option(address, "127.0.0.1", "Address to receive events on; :: is all, IPv4 too.")
    udp_port: int = option(port, "8337", "UDP port.")
    max_age: float = option(seconds, "30d", "Events older than this are refused.")

    @property
    def endpoint(self) -> Endpoint:
        """What to bind."""
        return Endpoint(self.listen, self.udp_port)

    def problems(self) -> Iterator[str]:
        """What is wrong with the section as a whole."""
        if self.max_age < LEAST_MAX_AGE:
            yield f"max_age must be {LEAST_MAX_AGE}s at least, since events take time to arrive"


@dataclass(frozen=True)
class Web:
    """[web]: the page."""

    http_listen: str = option(address, "127.0.0.1", "Address of the web page; :: is all, IPv4 too.")
    http_port: int = option(port, "8338", "TCP port.")
    state_dir: Path = option(path, "/var/lib/maltrail-collector", "Directory of the hash of the password.")

    @property
    def endpoint(self) -> Endpoint:
        """What to bind."""
        return Endpoint(self.http_listen, self.http_port)


@dataclass(frozen=True)
class Log:
    """[log]: where events are kept."""

    log_dir: Path = option(path, "/var/log/maltrail", "Directory of the logs, a file a day.")


@dataclass(frozen=True)
class CollectorConfig:
    """The whole file."""

    udp: Udp = section(Udp)
    web: Web = section(Web)
    log: Log = section(Log)
