"""/etc/d4/exporter.d/NAME.conf: one file for each instance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from d4common import config
from d4common.config import Endpoint, option, section
from d4common.packet import CHUNK_NAMES
from d4common.redis_url import RedisSection

INSTANCES = Path("/etc/d4/exporter.d")


@dataclass(frozen=True)
class Queue:
    """[queue]: which records."""

    type: str | None = option(config.text, None, "Data type: a D4 type such as 3, or a meta type's name.")
    queue: str | None = option(config.text, None, "Name or UUID of the analyzer queue.")
    chunks: bool = option(
        config.boolean,
        "no",
        "Whether the type is one of the server's chunk_types, so that an entry is sent as it is; "
        "1, 4, 5 and 7 always are.",
    )

    def problems(self) -> Iterator[str]:
        """Both are needed."""
        if self.type is None or self.queue is None:
            yield "must set type and queue"

    @property
    def is_chunks(self) -> bool:
        """Whether the records are not lines, but bytes as they came."""
        return self.chunks or self.type in CHUNK_NAMES


@dataclass(frozen=True)
class Sink:
    """[sink]: where to."""

    destination: Endpoint | None = option(config.endpoint(8337), None, "HOST:PORT that takes datagrams.")
    newline: bool = option(config.boolean, "yes", "Whether a line feed ends each datagram.")
    max_rate: int = option(
        config.integer(0, 10_000_000),
        "25000",
        "Most records a second, so that a backlog does not flood the receiver; 0 is without limit.",
    )

    def problems(self) -> Iterator[str]:
        """There is no sensible default."""
        if self.destination is None:
            yield "must set destination"


@dataclass(frozen=True)
class ExporterConfig:
    """The whole file."""

    queue: Queue = section(Queue)
    sink: Sink = section(Sink)
    redis: RedisSection = section(RedisSection)


def instance_files(name: str) -> list[Path]:
    """The file of an instance and its drop-ins in NAME.conf.d."""
    return config.files_of(INSTANCES / f"{name}.conf")
