"""`d4-sensor update`: all sources of trails into one compiled file."""

from __future__ import annotations

import fcntl
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import OpenerDirector

from d4sensor import compiled, feeds, fetch, formats, loading, sources
from d4sensor.compiled import Contents
from d4sensor.config import Trails as Settings
from d4sensor.feeds import Feed, FeedError
from d4sensor.fetch import Store
from d4sensor.merge import merge
from d4sensor.sources import Problem
from d4sensor.trails import Entry, TrailError
from d4sensor.whitelist import Whitelist

AT_ONCE = 4
"""Feeds that are fetched at the same time."""

LEAST = 0.5
"""The part of its trails to which a set may shrink."""


class Refused(Exception):
    """A set that does not take the place of the old one; the message says why."""


@dataclass(frozen=True)
class Report:
    """What became of an update: how many trails there are, and what went wrong on the way."""

    trails: int
    problems: list[str]


def update(
    settings: Settings,
    offline: bool = False,
    allow_shrink: bool = False,
    ca: Path | None = None,
) -> Report:
    """Fetches the feeds, unless ``offline``, and compiles them and all other sources.

    What is wrong with a feed is reported, and its last good copy used. ``ca`` takes the place of the
    system's CAs. Raises TrailError for a path that cannot be read, Refused, and OSError.
    """
    with _alone(settings.compiled):
        known, problems = feeds.load(settings.feeds)
        enabled = [feed for feed in known if feed.enabled]
        store = store_of(settings)
        if not offline:
            problems += _fetch_all(enabled, store, fetch.opener(settings.proxy, ca))
        contents, more = _contents(settings, enabled, store)
        count = len(contents.merged.entries)
        if not allow_shrink:
            _check(count, settings.compiled)
        compiled.write(settings.compiled, contents)
        return Report(count, problems + more)


def become_owner(path: Path) -> None:
    """Gives up root's rights for those of whom the state belongs to, who is to write it later too."""
    directory = path.parent
    if os.geteuid() == 0 and directory.exists():
        status = directory.stat()
        os.setgroups([status.st_gid])
        os.setegid(status.st_gid)
        os.seteuid(status.st_uid)


def store_of(settings: Settings) -> Store:
    """Where the copies of feeds lie: beside the compiled file."""
    return Store(settings.compiled.with_name("feeds"))


def _check(count: int, path: Path) -> None:
    """Raises Refused for a set that is empty or much smaller than that in a file."""
    if not count:
        raise Refused("there are no trails at all, the old ones stay")
    try:
        before = len(compiled.open_(path))
    except (FileNotFoundError, TrailError):
        return
    if count < before * LEAST:
        raise Refused(f"of {before} trails {count} are left, the old ones stay; --allow-shrink takes the new")


def _contents(settings: Settings, enabled: list[Feed], store: Store) -> tuple[Contents, list[str]]:
    """What the copies of feeds and all files hold, and the problems with them."""
    about: dict[str, Any] = {"made": time.time(), "paths": loading.paths_of(settings)}
    counts: Counter[str] = Counter()
    problems: list[str] = []
    lines: list[Problem] = []
    whitelist, agents = loading.whitelist_and_agents(settings, lines)
    for kind, texts in (("whitelist", whitelist), ("user-agents", agents)):
        for feed, body in _copies(enabled, store, kind):
            with _reported(feed, problems):
                told = [each.text for each in formats.told(feed, body)]
                counts[f"feed {feed.name}"] = len(told)
                texts += told

    def entries() -> Iterator[Entry]:
        for feed, body in _copies(enabled, store, "trails"):
            with _reported(feed, problems):
                yield from formats.entries(feed, body)
        yield from sources.read(map(str, settings.path), lines)

    merged = merge(_counted(entries(), counts), Whitelist(whitelist), settings.minimum_feeds)
    about |= {"sources": dict(counts), "dropped": dict(merged.dropped)}
    agents = list(filter(_is_expression, agents))
    return Contents(merged, whitelist, agents, about), problems + [f"not a trail: {line}" for line in lines]


def _is_expression(text: str) -> bool:
    """Whether a pattern of a feed compiles."""
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError):
        return False
    return True


def _copies(enabled: list[Feed], store: Store, kind: str) -> Iterator[tuple[Feed, bytes]]:
    """The feeds of a kind of which there is a copy."""
    for feed in enabled:
        body = store.body(feed) if feed.kind == kind else None
        if body is not None:
            yield feed, body


def _counted(entries: Iterator[Entry], counts: Counter[str]) -> Iterator[Entry]:
    for entry in entries:
        counts[entry.trail.source] += 1
        yield entry


@contextmanager
def _reported(feed: Feed, problems: list[str]) -> Iterator[None]:
    try:
        yield
    except FeedError as error:
        problems.append(f"feed {feed.name} {error}")


def _fetch_all(enabled: list[Feed], store: Store, opened: OpenerDirector) -> list[str]:
    """Brings all copies up to date; what went wrong."""
    problems = []
    show = _progress(len(enabled))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        states = pool.map(lambda feed: fetch.fetch(feed, store, opened, _check_body), enabled)
        for number, (feed, state) in enumerate(zip(enabled, states, strict=True), 1):
            show(number, feed.name)
            if state.error:
                kept = "its last copy stays" if state.fetched else "there is no copy yet"
                problems.append(f"feed {feed.name}: {state.error}; {kept}")
    return problems


def _check_body(feed: Feed, body: bytes) -> None:
    """Raises FeedError for a body that holds nothing of what the feed is about."""
    found = formats.entries(feed, body) if feed.kind == "trails" else formats.told(feed, body)
    if next(iter(found), None) is None:
        raise FeedError("holds nothing: it is empty, or of another format by now")


def _progress(total: int) -> Callable[[int, str], None]:
    """Shows on a terminal how far it is; elsewhere nothing."""

    def show(number: int, name: str) -> None:
        if sys.stderr.isatty():
            end = "\r" if number < total else "\n"
            print(f"\033[K{number} of {total} feeds: {name}", end=end, file=sys.stderr, flush=True)

    return show


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Waits until no other process compiles this file. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
