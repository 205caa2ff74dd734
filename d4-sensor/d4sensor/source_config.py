"""/etc/d4/sources.d/NAME.conf: what is sent besides the engine's events, one file for each source.

Who sends, where to, and how much may wait on the way stands in /etc/d4/sensor.conf, in [d4] and [spool].
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d4common import config
from d4common.config import option, section
from d4common.packet import CHUNKS, EXTENDED, MAX_PAYLOAD, META_HEADER
from d4common.session import ACK, MAX_META_HEADER, SESSION
from d4sensor import capture

LINES = frozenset({3, 6, 8, EXTENDED})
"""D4 types whose records are lines."""

TYPES = LINES | CHUNKS

FRAME_HEADER = 16
"""Bytes that a pcap file has before each frame."""

OPTIONS = {
    "stdin": (),
    "file": ("path",),
    "folder": ("path", "settle", "base64"),
    "unix": ("path",),
    "journal": ("unit", "priority", "match"),
    "pcap": ("interface", "filter", "frame_snaplen", "buffer"),
}
"""What each kind of source has besides ``type``, ``metaheader`` and ``snaplen``."""


def meta_header(value: str) -> dict[str, Any]:
    """An object of JSON with a text ``type``, or the absolute path of a file that holds one."""
    text = value if value.startswith("{") else _text_of(config.path(value))
    try:
        document: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is no JSON: {error}") from None
    kind = document.get("type") if isinstance(document, dict) else None
    if not isinstance(kind, str) or not kind:
        raise ValueError('must be an object of JSON with a text "type", such as {"type":"ja3-jl"}')
    if kind in (SESSION, ACK):
        raise ValueError(f'"type" may not be {kind}, which means something to the server')
    if len(json.dumps(document)) > MAX_META_HEADER:
        raise ValueError(f"must have at most {MAX_META_HEADER} bytes")
    return document


def d4_type(value: str) -> int:
    """A type of data."""
    number = config.integer(0, 255)(value)
    if number == META_HEADER:
        raise ValueError("is the type of meta headers; what follows one is of type 254")
    if number not in TYPES:
        raise ValueError(f"must be one of {', '.join(map(str, sorted(TYPES)))}")
    return number


def _words(value: str) -> tuple[str, ...]:
    """Words with white space between them, or none."""
    return tuple(value.split())


def _matches(value: str) -> tuple[str, ...]:
    found = tuple(value.split())
    for word in found:
        if not re.fullmatch(r"[A-Z0-9_]+=.*", word):
            raise ValueError(f"{word!r} is not FIELD=value, as journalctl(1) has it")
    return found


@dataclass(frozen=True)
class Source:
    """[source]: what is sent."""

    kind: str | None = option(config.choice(*OPTIONS), None, f"What it is: {', '.join(OPTIONS)}.")
    type: int | None = option(
        d4_type,
        None,
        "D4 type of the data: 3 is lines, 254 what the meta header says. A journal is 6, pcap 1.",
    )
    metaheader: dict[str, Any] | None = option(
        meta_header, None, 'For type 254: JSON such as {"type":"ja3-jl"}, or the path of a file with it.'
    )
    snaplen: int = option(config.integer(1, MAX_PAYLOAD), "100000", "Most bytes of data in a packet.")
    path: Path | None = option(
        config.path, None, "The file, the folder, or the socket where systemd holds none."
    )
    settle: float = option(config.seconds, "5s", "folder: how long a complete file has not changed.")
    base64: bool = option(
        config.boolean, "no", "folder: whether each file becomes a line of base64, as filewatcher has it."
    )
    unit: tuple[str, ...] = option(_words, "", "journal: only these units.", collects=True)
    priority: int = option(config.integer(0, 7), "7", "journal: the least grave that is sent; 3 is errors.")
    match: tuple[str, ...] = option(
        _matches, "", "journal: only entries with these, FIELD=value.", collects=True
    )
    interface: str = option(config.text, "any", "pcap: the interface, or any.")
    filter: str = option(
        config.text, "", "pcap: a pcap-filter(7); what goes to the server is left out anyway."
    )
    frame_snaplen: int = option(config.integer(64, 262144), "65535", "pcap: most bytes taken of a frame.")
    buffer: int = option(config.bytes_size("1M", "1G"), "16M", "pcap: the kernel's ring.")

    @property
    def data_type(self) -> int:
        """The D4 type, where need be that which the kind of source has by itself."""
        if self.type is not None:
            return self.type
        return 1 if self.kind == "pcap" else 6

    def __str__(self) -> str:
        """What it is, in a few words."""
        match self.kind:
            case "stdin":
                return "standard input"
            case "unix":
                return "lines from a socket"
            case "journal":
                return "the journal"
            case "pcap":
                return f"the frames of interface {self.interface}"
        return f"the {self.kind} {self.path}"

    def problems(self) -> Iterator[str]:
        """What is missing, and what contradicts what."""
        if self.kind is None:
            yield f"must set kind: {', '.join(OPTIONS)}"
            return
        yield from self._misplaced(self.kind)
        if self.type is None and self.kind not in ("journal", "pcap"):
            yield "must set type, the D4 type of the data"
        if self.kind in ("file", "folder") and self.path is None:
            yield f"kind = {self.kind} must set path"
        if self.kind in ("unix", "journal") and self.data_type not in LINES:
            yield f"type = {self.type} is not one of lines, which kind = {self.kind} gives"
        if self.kind == "pcap" and self.data_type != 1:
            yield f"type = {self.type} does not go with kind = pcap, which gives type 1"
        if self.base64 and self.data_type not in LINES:
            yield f"base64 = yes gives lines, which type = {self.type} has not"
        if (self.data_type == EXTENDED) != (self.metaheader is not None):
            yield "type = 254 and metaheader go together: set both, or neither"
        yield from self._pcap_problems()

    def _misplaced(self, kind: str) -> Iterator[str]:
        """Options that another kind of source has."""
        for field in dataclasses.fields(self):
            kinds = [each for each, names in OPTIONS.items() if field.name in names]
            if kinds and kind not in kinds and getattr(self, field.name) != field.default:
                yield f"{field.name} belongs to kind = {' or '.join(kinds)}, not to kind = {kind}"

    def _pcap_problems(self) -> Iterator[str]:
        if self.kind != "pcap":
            return
        if self.snaplen < self.frame_snaplen + FRAME_HEADER:
            yield (
                f"snaplen = {self.snaplen} must be {self.frame_snaplen + FRAME_HEADER} at least, "
                f"so that a packet holds a frame of frame_snaplen = {self.frame_snaplen} bytes"
            )
        problem = capture.filter_problem(self.filter)
        if problem:
            yield f"filter = {self.filter}: {problem}"


@dataclass(frozen=True)
class SourceConfig:
    """The whole file."""

    source: Source = section(Source)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise ValueError(f"cannot be read: {reason}") from None
