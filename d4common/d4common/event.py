"""The Maltrail event: eleven fields on one line, as a log keeps it and as a datagram carries it.

A line is ``"<local time>" sensor src_ip src_port dst_ip dst_port proto type trail info reference``; on the
wire it is preceded by the time in whole seconds since the epoch, so that a receiver in another time zone
files it under the right day. Quoting is that of Maltrail's ``safe_value``: a field with a space or a quote
stands in quotes, a quote inside is doubled, an empty field is ``-``. Control characters become spaces.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from functools import lru_cache

MAX_LINE = 8192
"""Bytes of one event. Maltrail's server reads no more than this from a datagram."""

TYPES = frozenset({"DNS", "IP", "IPORT", "URL", "PATH", "HTTP", "UA", "PORT", "CERT", "JA3", "JA4"})
"""The kinds of trail an event can name: Maltrail's nine and the two fingerprints of TLS clients."""

_TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2})\.([0-9]{6})")
_FIELD = re.compile(r'"((?:[^"\r\n]|"")*)"|([^ "\r\n]+)')
_LINE = re.compile(rf"(?:{_FIELD.pattern})(?: (?:{_FIELD.pattern})){{10}}")
_WIRE = re.compile(r"([0-9]{1,11}) (.*)")


class EventError(ValueError):
    """The text is not an event; the message says what is wrong with it."""


@dataclass(frozen=True)
class Event:
    """One sighting of a trail.

    ``sec`` and ``usec`` are the time of the packet since the epoch (UTC). Ports are text, since an event
    that sums up several has a comma list there, and one without ports has ``-``.
    """

    sec: int
    usec: int
    sensor: str
    src_ip: str
    src_port: str
    dst_ip: str
    dst_port: str
    proto: str
    type: str
    trail: str
    info: str
    reference: str

    def line(self) -> str:
        """The event as a log line, without the line feed; the time is this machine's local time."""
        fields = (
            self.sensor,
            self.src_ip,
            self.src_port,
            self.dst_ip,
            self.dst_port,
            self.proto,
            self.type,
            self.trail,
            self.info,
            self.reference,
        )
        return f'"{_local(self.sec)}.{self.usec:06d}" ' + " ".join(map(_quote, fields))

    def wire(self) -> bytes:
        """The event as Maltrail sends it to a server: ``<epoch> <line>\\n``."""
        return f"{self.sec} {self.line()}\n".encode(errors="replace")

    @property
    def severity(self) -> str:
        """``low``, ``medium`` or ``high``, by the rules of Maltrail's reporting page."""
        if self.reference.startswith(("(custom)", "(remote custom)")):
            return "high"
        for word, severity in _SEVERITIES:
            if word in self.info or word in self.reference:
                return severity
        return "medium"


# What came off the wire must not end a line, nor drive the terminal of who reads the log.
_CONTROL = dict.fromkeys([*range(32), *range(127, 160)], " ")

# In order: the first word that occurs decides.
_SEVERITIES = (
    ("potential malware site", "medium"),
    ("malwaredomainlist", "high"),
    ("malware distribution", "medium"),
    ("mass scanner", "low"),
    ("malware", "high"),
    ("adversary", "high"),
    ("ransomware", "high"),
    ("reputation", "low"),
    ("attacker", "low"),
    ("spammer", "low"),
    ("compromised", "low"),
    ("crawler", "low"),
    ("scanning", "low"),
)


def parse(text: str) -> Event:
    """The event in a log line, with or without the epoch in front and the line feed behind.

    Raises EventError where it is not eleven fields that begin with a time. The epoch, where there is one,
    decides the second: the text of the time is the sensor's local time, whose zone nobody wrote down.
    """
    text = text.rstrip("\r\n")
    epoch = None
    if not text.startswith('"'):
        match = _WIRE.fullmatch(text)
        if not match:
            raise EventError("an event begins with a quoted time, or with the epoch and a quoted time")
        epoch, text = int(match[1]), match[2]
    if not _LINE.fullmatch(text):
        raise EventError("an event has eleven fields, each behind a single space")
    fields = [plain if plain else quoted.replace('""', '"') for quoted, plain in _FIELD.findall(text)]
    match = _TIME.fullmatch(fields[0])
    if not match:
        raise EventError(f"{fields[0]!r} is not a time such as 2026-11-24 18:47:35.552881")
    sec = epoch if epoch is not None else _epoch(match[1])
    return Event(sec, int(match[2]), *fields[1:])


def _quote(field: str) -> str:
    field = field.translate(_CONTROL) or "-"
    if " " in field or '"' in field:
        return '"' + field.replace('"', '""') + '"'
    return field


@lru_cache(maxsize=8)
def _local(sec: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(sec))


@lru_cache(maxsize=8)
def _epoch(local: str) -> int:
    try:
        sec = int(time.mktime(time.strptime(local, "%Y-%m-%d %H:%M:%S")))
    except (ValueError, OverflowError):
        raise EventError(f"{local!r} is no time of any day") from None
    if sec < 0:
        raise EventError(f"{local!r} is before 1970")
    return sec
