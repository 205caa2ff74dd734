"""Files of trails, in Maltrail's formats.

A text file has an indicator per line (indicator.py says what that may be) and comments after ``#``; what
is known about all of them is the file's name: ``malware/foo_bar.txt`` is "foo bar (malware)". A CSV file
has ``trail,info,reference`` per row, as Maltrail's trails.csv.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from d4sensor.indicator import IndicatorError, parse
from d4sensor.merge import merge
from d4sensor.trails import Entry, Trail, TrailError, Trails
from d4sensor.whitelist import Whitelist


class Problem(NamedTuple):
    """A line that holds no trail, and why."""

    path: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.reason}"


def load(
    paths: Iterable[str], whitelist: Iterable[str] = (), user_agents: Iterable[str] = ()
) -> tuple[Trails, list[Problem]]:
    """The trails in files (``.csv``, else text) and in directories of ``.txt`` and ``.csv`` files.

    Where two name the same indicator, the later path decides. Inside a directory that is what Maltrail
    does: malware over malicious over suspicious, and a file with ``history`` in its name over nothing.
    Lines that hold no trail are passed over and returned. Raises TrailError.
    """
    problems: list[Problem] = []
    whitelist = list(whitelist)
    merged = merge(read(paths, problems), Whitelist(whitelist))
    found = Trails(merged.entries, merged.networks.values(), merged.patterns, whitelist, user_agents)
    return found, problems


def texts(paths: Iterable[Path]) -> list[str]:
    """The lines of text files, and of those in directories, without comments. Raises TrailError."""
    found = (_COMMENT.sub("", line).strip() for path in paths for line in _text_lines(path))
    return [line for line in found if line]


def read(paths: Iterable[str], problems: list[Problem]) -> Iterator[Entry]:
    """All entries of files and directories, those that decide last. Raises TrailError."""
    for path in paths:
        for file in files(Path(path)):
            reader = rows if file.suffix == ".csv" else lines
            trail = Trail(_info(file), _reference(file), str(file))
            yield from reader(text_of(file), trail, problems)


def files(path: Path) -> list[Path]:
    """The files of trails in a directory, that which decides last; of a file, itself."""
    if not path.is_dir():
        return [path]
    return sorted((file for file in path.rglob("*") if file.suffix in (".txt", ".csv")), key=_rank)


def lines(text: str, trail: Trail, problems: list[Problem]) -> Iterator[Entry]:
    """The entries of a text file, about all of which ``trail`` is known."""
    for number, line in enumerate(text.splitlines(), 1):
        if "#" in line:
            line = _COMMENT.sub("", line)
        if not line or line.isspace():
            continue
        try:
            yield Entry(parse(line), trail)
        except IndicatorError as error:
            problems.append(Problem(trail.source, number, str(error)))


def rows(text: str, trail: Trail, problems: list[Problem]) -> Iterator[Entry]:
    """The entries of a CSV file; the reference may be left out, and is then that of ``trail``."""
    known: dict[Trail, Trail] = {}
    table = csv.reader(text.splitlines())
    while True:
        try:
            row = next(table, None)
            if row is None:
                return
            if not row or row[0].startswith("#"):
                continue
            if len(row) not in (2, 3):
                raise IndicatorError("a row is trail,info,reference")
            own = Trail(row[1], row[2] if len(row) == 3 else trail.reference, trail.source)
            yield Entry(parse(row[0]), known.setdefault(own, own))
        except (IndicatorError, csv.Error) as error:
            problems.append(Problem(trail.source, table.line_num, str(error)))


def text_of(file: Path) -> str:
    """What is in a file. Raises TrailError."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise TrailError(f"{file}: {error.strerror}") from None


def _text_lines(path: Path) -> Iterator[str]:
    for file in sorted(path.glob("*.txt")) if path.is_dir() else [path]:
        yield from text_of(file).splitlines()


_CATEGORIES = ("suspicious", "malicious", "malware")
_COMMENT = re.compile(r"(?:^|\s)#.*")


def _rank(file: Path) -> tuple[bool, int, Path]:
    """Where a file stands among those of its directory, the one that decides last."""
    category = file.parent.name
    place = _CATEGORIES.index(category) if category in _CATEGORIES else len(_CATEGORIES)
    return "history" in file.stem, place, file


def _info(file: Path) -> str:
    info = file.stem.replace("_", " ")
    return f"{info} ({file.parent.name})" if file.parent.name in _CATEGORIES else info


def _reference(file: Path) -> str:
    absolute = file.absolute()
    own = any(part.startswith("trails.d") for part in absolute.parts[:-1])
    return "(custom)" if own or absolute.parts[1] == "etc" else "(static)"
