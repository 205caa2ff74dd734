"""/etc/d4/sensor.conf."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from d4common import config
from d4common.config import Endpoint, Proxy, option, section
from d4common.packet import MAX_PAYLOAD
from d4sensor import capture, heuristics
from d4sensor.ignore import Ignore
from d4sensor.indicator import IndicatorError, parse
from d4sensor.throttle import BURST

MAX_DAYS = 60
"""The server forgets after 90 days what it has had of a spool (docs/protocol.md, 2.4)."""


@dataclass(frozen=True)
class D4:
    """[d4]: who this sensor is, and where it sends."""

    destination: tuple[Endpoint, ...] = option(
        config.endpoints(4443),
        "localhost:4443",
        "HOST:PORT of the server, or of several in order of preference.",
    )
    proxy: Proxy | None = option(
        config.proxy, None, "SOCKS5 proxy on the way: socks5://[USER:PASSWORD@]HOST:PORT.", secret=True
    )
    ca: Path = option(config.path, "/etc/d4/ca.pem", "CA that signed the server's certificate.")
    verify: bool = option(config.boolean, "yes", "no sends events to whoever answers.")
    uuid: UUID | None = option(config.uuid4, None, "This sensor's UUID.")
    key: str | None = option(config.text, None, "The key that it shares with the server.", secret=True)
    client_certificate: Path | None = option(
        config.path, None, "This sensor's certificate, for a server that wants one."
    )
    client_key: Path | None = option(config.path, None, "The key of that.")
    snaplen: int = option(config.integer(1, MAX_PAYLOAD), "4096", "Most bytes of events in a packet.")
    version: int = option(config.integer(1, 255), "1", "Version in the header of packets.")

    def problems(self) -> Iterator[str]:
        """A certificate is nothing without its key."""
        if (self.client_certificate is None) != (self.client_key is None):
            yield "client_certificate and client_key must be set together"

    def own_certificate(self) -> tuple[Path, Path] | None:
        """Certificate and key, which systemd may have handed over (LoadCredential=sensor.key:…)."""
        if self.client_certificate is None or self.client_key is None:
            return None
        handed = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nonexistent"), "sensor.key")
        there = handed.exists() and handed.read_bytes().startswith(b"-----BEGIN")
        return self.client_certificate, handed if there else self.client_key


@dataclass(frozen=True)
class Spool:
    """[spool]: where events wait until the server has them."""

    path: Path = option(config.path, "/var/lib/d4-sensor/spool", "Directory of what waits to be sent.")
    max_size: int = option(
        config.bytes_size("1M", "1000G"), "1G", "Most bytes that wait; then the oldest are dropped."
    )
    max_days: int = option(
        config.integer(1, MAX_DAYS), str(MAX_DAYS), "Days that anything may wait; then it is dropped."
    )


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


def _proxy(value: str) -> str:
    """The URL of an HTTP proxy."""
    if not re.fullmatch(r"https?://[^/\s]+/?", value):
        raise ValueError("must be http://HOST:PORT")
    return value


@dataclass(frozen=True)
class Trails:
    """[trails]: what the sensor looks for."""

    path: tuple[Path, ...] = option(
        config.paths,
        "/usr/share/d4/trails /etc/d4/trails.d",
        "Trail files, trails.csv files, or directories of them.",
        collects=True,
    )
    feeds: tuple[Path, ...] = option(
        config.paths,
        "/usr/share/d4/feeds /etc/d4/feeds.d",
        "Directories that say which feeds there are, in a TOML file each.",
        collects=True,
    )
    whitelist: tuple[Path, ...] = option(
        config.paths,
        "/etc/d4/whitelist.d",
        "Files, or directories of them, of names and addresses that no trail may be about.",
        collects=True,
    )
    user_agents: tuple[Path, ...] = option(
        config.paths,
        "/usr/share/d4/user-agents",
        "Files, or directories of them, of patterns for the User-Agents of HTTP.",
        collects=True,
    )
    compiled: Path = option(
        config.path,
        "/var/lib/d4-sensor/trails.mdb",
        "All trails in one file, which d4-sensor update makes; what it fetches lies beside it.",
    )
    minimum_feeds: int = option(
        config.integer(1, 100), "3", "Feeds that must list an IPv4 address for it to be a trail."
    )
    proxy: str | None = option(_proxy, None, "Proxy through which feeds are fetched: http://HOST:PORT.")


_ENDPOINT = re.compile(r"[0-9.]+:[0-9]+|\[.*")


def _addresses(value: str) -> tuple[str, ...]:
    """Addresses and networks, as trail files have them."""
    found = tuple(value.replace(",", " ").split())
    for word in found:
        try:
            indicator = parse(word)
        except IndicatorError as error:
            raise ValueError(str(error)) from None
        if indicator.network is None or _ENDPOINT.fullmatch(word):
            raise ValueError(f"{word!r} is neither an address nor a network")
    return found


def _texts(value: str) -> tuple[str, ...]:
    """Words with white space between them, or none."""
    return tuple(value.split())


def _expression(value: str) -> re.Pattern[str] | None:
    """A regular expression that does not mind case, or none."""
    try:
        return re.compile(value, re.IGNORECASE) if value else None
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None


def _heuristics(value: str) -> tuple[str, ...]:
    """Names of heuristics, or none."""
    found = tuple(value.replace(",", " ").split())
    for name in sorted(set(found) - heuristics.NAMES):
        raise ValueError(f"no heuristic is called {name}; there are {', '.join(sorted(heuristics.NAMES))}")
    return found


@dataclass(frozen=True)
class Engine:
    """[engine]: how the sensor judges."""

    disabled_heuristics: tuple[str, ...] = option(
        _heuristics, "", "Heuristics that are not to be used.", collects=True
    )
    check_missing_host: bool = option(
        config.boolean, "no", "Whether HTTP requests without a Host header are told."
    )


@dataclass(frozen=True)
class Events:
    """[events]: which events nobody wants to see, and which are summed up."""

    burst: int = option(
        config.integer(1, 1_000_000_000),
        str(BURST),
        "Sightings of a trail from a source that are told one by one in a minute; one line sums up the rest.",
    )

    ignore_source: tuple[str, ...] = option(
        _addresses, "", "Addresses and networks whose own events are not told.", collects=True
    )
    ignore_destination: tuple[str, ...] = option(
        _addresses, "", "Addresses and networks to which no event is told.", collects=True
    )
    ignore_trail: tuple[str, ...] = option(
        _texts, "", "Trails that are not told; * stands for anything.", collects=True
    )
    ignore_regex: re.Pattern[str] | None = option(
        _expression, "", "A regular expression; events whose line it is found in are not told."
    )

    def ignore(self) -> Ignore:
        """What becomes of events by these options."""
        return Ignore(self.ignore_source, self.ignore_destination, self.ignore_trail, self.ignore_regex)


@dataclass(frozen=True)
class SensorConfig:
    """The whole file."""

    d4: D4 = section(D4)
    spool: Spool = section(Spool)
    capture: Capture = section(Capture)
    trails: Trails = section(Trails)
    engine: Engine = section(Engine)
    events: Events = section(Events)
