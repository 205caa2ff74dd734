"""Trails: what is known to be bad, and why. Read from files in Maltrail's formats.

A text file has an indicator per line (indicator.py says what that may be) and comments after ``#``; what
is known about all of them is the file's name: ``malware/foo_bar.txt`` is "foo bar (malware)". A CSV file
has ``trail,info,reference`` per row, as Maltrail's trails.csv.
"""

from __future__ import annotations

import csv
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from d4sensor.addresses import Addresses, Network
from d4sensor.indicator import Indicator, IndicatorError, address_text, parse


class TrailError(Exception):
    """A file of trails that cannot be read; the message names it."""


class Trail(NamedTuple):
    """What is known about an indicator, and from where: ``netsupport (malware)``, ``(static)``."""

    info: str
    reference: str


class Problem(NamedTuple):
    """A line that holds no trail, and why."""

    path: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.reason}"


class Trails:
    """All trails, by key. Nothing changes once they are built."""

    def __init__(self, entries: dict[str, Trail], networks: Iterable[Network]) -> None:
        networks = set(networks)
        self.get: Callable[[str], Trail | None] = entries.get
        """The trail of a key, written as indicator.py does, or None."""
        self.addresses = Addresses(networks)
        """Every address that some trail needs."""
        self._size = len(entries)
        # The prefixes of the networks in use, by the size of the address in bytes, the narrowest first.
        self._prefixes = {
            size: sorted({n.prefix for n in networks if len(n.address) == size} - {size * 8})[::-1]
            for size in (4, 16)
        }

    def __len__(self) -> int:
        return self._size

    def listing(self, address: str) -> tuple[str, Trail] | None:
        """The trail of an address, with its key: its own, or that of the narrowest network around it."""
        own = self.get(address)
        if own:
            return address, own
        packed = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
        number, bits = int.from_bytes(packed, "big"), len(packed) * 8
        for prefix in self._prefixes[len(packed)]:
            first = number >> (bits - prefix) << (bits - prefix)
            key = f"{address_text(first.to_bytes(len(packed), 'big'))}/{prefix}"
            trail = self.get(key)
            if trail:
                return key, trail
        return None


def load(paths: Iterable[str]) -> tuple[Trails, list[Problem]]:
    """The trails in files (``.csv``, else text) and in directories of ``.txt`` and ``.csv`` files.

    Where two name the same indicator, the later path decides. Inside a directory that is what Maltrail
    does: malware over malicious over suspicious, and a file with ``history`` in its name over nothing.
    Lines that hold no trail are passed over and returned. Raises TrailError.
    """
    entries: dict[str, Trail] = {}
    networks: list[Network] = []
    problems: list[Problem] = []
    for path in paths:
        for file in _files(Path(path)):
            read = _rows if file.suffix == ".csv" else _lines
            keep = "history" in file.stem
            for indicator, trail in read(file, problems):
                if not (keep and indicator.key in entries):
                    entries[indicator.key] = trail
                if indicator.network:
                    networks.append(indicator.network)
    return Trails(entries, networks), problems


_CATEGORIES = ("suspicious", "malicious", "malware")
_COMMENT = re.compile(r"(?:^|\s)#.*")


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = [file for file in path.rglob("*") if file.suffix in (".txt", ".csv")]
    return sorted(files, key=_rank)


def _rank(file: Path) -> tuple[bool, int, Path]:
    """Where a file stands among those of its directory, the one that decides last."""
    category = file.parent.name
    place = _CATEGORIES.index(category) if category in _CATEGORIES else len(_CATEGORIES)
    return "history" in file.stem, place, file


def _lines(file: Path, problems: list[Problem]) -> Iterator[tuple[Indicator, Trail]]:
    """The trails of a text file."""
    trail = Trail(_info(file), _reference(file))
    for number, line in enumerate(_text(file).splitlines(), 1):
        if "#" in line:
            line = _COMMENT.sub("", line)
        if not line or line.isspace():
            continue
        try:
            yield parse(line), trail
        except IndicatorError as error:
            problems.append(Problem(str(file), number, str(error)))


def _rows(file: Path, problems: list[Problem]) -> Iterator[tuple[Indicator, Trail]]:
    """The trails of a CSV file; the reference may be left out."""
    reference = _reference(file)
    known: dict[Trail, Trail] = {}
    rows = csv.reader(_text(file).splitlines())
    while True:
        try:
            row = next(rows, None)
            if row is None:
                return
            if not row or row[0].startswith("#"):
                continue
            if len(row) not in (2, 3):
                raise IndicatorError("a row is trail,info,reference")
            trail = Trail(row[1], row[2] if len(row) == 3 else reference)
            yield parse(row[0]), known.setdefault(trail, trail)
        except (IndicatorError, csv.Error) as error:
            problems.append(Problem(str(file), rows.line_num, str(error)))


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise TrailError(f"{file}: {error.strerror}") from None


def _info(file: Path) -> str:
    info = file.stem.replace("_", " ")
    return f"{info} ({file.parent.name})" if file.parent.name in _CATEGORIES else info


def _reference(file: Path) -> str:
    absolute = file.absolute()
    own = any(part.startswith("trails.d") for part in absolute.parts[:-1])
    return "(custom)" if own or absolute.parts[1] == "etc" else "(static)"
