"""Feeds: lists of indicators that others publish, each described by a TOML file.

Directories are read in order; a file of the same name in a later one changes what it mentions.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

FORMATS = ("lines", "csv", "json", "hosts", "suricata")
KINDS = ("trails", "whitelist", "user-agents")


class FeedError(Exception):
    """A feed that cannot be described, fetched or read as its file says; the message says why."""


@dataclass(frozen=True)
class Feed:
    """What a TOML file says. ``name`` is the file's; columns count from 0."""

    name: str
    url: str
    reference: str
    licence: str = ""
    """What its publisher says about use; empty where that is not known."""
    info: str = ""
    format: str = "lines"
    kind: str = "trails"
    enabled: bool = True
    column: int = 0
    """Of ``csv``: where the indicator is."""
    info_column: int = -1
    """Of ``csv``: where the info is, if not the same for all; it takes the place of ``{}`` in ``info``."""
    reference_column: int = -1
    """Of ``csv``: where the reference is, if not the same for all."""
    delimiter: str = ","
    path: str = ""
    """Of ``json``: the keys that lead to the indicators, with dots between; ``*`` is every element."""

    def problem(self) -> str:
        """What is wrong with this description; empty where nothing is."""
        if not self.url.startswith("https://"):
            return f"url = {self.url}: a feed is fetched over https:// only"
        if self.format not in FORMATS:
            return f"format = {self.format}: must be one of {', '.join(FORMATS)}"
        if self.kind not in KINDS:
            return f"kind = {self.kind}: must be one of {', '.join(KINDS)}"
        if len(self.delimiter) != 1:
            return "delimiter must be one character"
        if self.kind == "trails" and not self.info and self.info_column < 0:
            return "info or info_column says what is known about the indicators"
        return ""


def load(directories: Iterable[Path]) -> tuple[list[Feed], list[str]]:
    """All feeds, by name, and what is wrong with the files that are left out."""
    found: dict[str, dict[str, Any]] = {}
    problems: dict[str, str] = {}
    for directory in directories:
        for file in sorted(directory.glob("*.toml")):
            try:
                found.setdefault(file.stem, {}).update(tomllib.loads(file.read_text(encoding="utf-8")))
            except OSError as error:
                problems[file.stem] = f"{file}: {error.strerror}"
            except (ValueError, RecursionError) as error:
                problems[file.stem] = f"{file}: {error}"
    feeds = []
    for name in sorted(found.keys() - problems.keys()):
        try:
            feeds.append(_feed(name, found[name]))
        except FeedError as error:
            problems[name] = f"{name}.toml: {error}"
    return feeds, [problems[name] for name in sorted(problems)]


def _feed(name: str, told: dict[str, Any]) -> Feed:
    types = {each.name: str(each.type) for each in fields(Feed) if each.name != "name"}
    for key, value in told.items():
        if key not in types:
            raise FeedError(f"there is no {key}; there is {', '.join(types)}")
        if type(value).__name__ != types[key]:
            raise FeedError(f"{key} = {value!r}: must be of type {types[key]}")
    missing = [key for key in ("url", "reference") if key not in told]
    if missing:
        raise FeedError(f"{' and '.join(missing)} must be there")
    feed = Feed(name, **told)
    if problem := feed.problem():
        raise FeedError(problem)
    return feed
