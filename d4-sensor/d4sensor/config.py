"""/etc/d4/sensor.conf."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from d4common import config
from d4common.config import Endpoint, option, section
from d4common.packet import MAX_PAYLOAD
from d4sensor import capture


@dataclass(frozen=True)
class D4:
    """[d4]: who this sensor is, and where it sends."""

    destination: Endpoint = option(config.endpoint(4443), "localhost:4443", "HOST:PORT of the server.")
    ca: Path = option(config.path, "/etc/d4/ca.pem", "CA that signed the server's certificate.")
    verify: bool = option(config.boolean, "yes", "no sends events to whoever answers.")
    uuid: UUID | None = option(config.uuid4, None, "This sensor's UUID.")
    key: str | None = option(config.text, None, "The key that it shares with the server.", secret=True)
    snaplen: int = option(config.integer(1, MAX_PAYLOAD), "4096", "Most bytes of events in a packet.")
    version: int = option(config.integer(1, 255), "1", "Version in the header of packets.")


@dataclass(frozen=True)
class Capture:
    """[capture]: what the sensor sees."""

    interface: tuple[str, ...] = option(config.words, "any", "Interfaces to listen on.")
    snaplen: int = option(config.integer(96, 262144), "2000", "Most bytes taken of a frame.")
    buffer: int = option(config.bytes_size("1M", "1G"), "64M", "The kernel's ring for each interface.")
    filter: str = option(config.text, "", "A pcap-filter(7); only for what no trail could want.")
    name: str | None = option(config.text, None, "The sensor's name in its events, if not the host's.")

    def problems(self) -> Iterator[str]:
        """A filter must compile; which options it may have, only libpcap knows."""
        problem = capture.filter_problem(self.filter)
        if problem:
            yield f"filter = {self.filter}: {problem}"

    def sensor_name(self) -> str:
        """What the events call this sensor."""
        return self.name or socket.gethostname()


@dataclass(frozen=True)
class Trails:
    """[trails]: what the sensor looks for."""

    path: tuple[Path, ...] = option(
        config.paths,
        "/usr/share/d4/trails /etc/d4/trails.d",
        "Trail files, trails.csv files, or directories of them.",
        collects=True,
    )


@dataclass(frozen=True)
class SensorConfig:
    """The whole file."""

    d4: D4 = section(D4)
    capture: Capture = section(Capture)
    trails: Trails = section(Trails)
