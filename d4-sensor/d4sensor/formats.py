"""What feeds look like: from the body that was fetched to indicators."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from d4sensor.feeds import Feed, FeedError
from d4sensor.indicator import IndicatorError, parse
from d4sensor.trails import Entry, Trail

MAX_UNPACKED = 512 << 20
"""Bytes of a feed that was compressed."""


class Told(NamedTuple):
    """An indicator as the feed writes it, with info and reference."""

    text: str
    info: str
    reference: str


def entries(feed: Feed, body: bytes) -> Iterator[Entry]:
    """The trails of a feed; what it holds besides is passed over. Raises FeedError."""
    known: dict[tuple[str, str], Trail] = {}
    for text, info, reference in told(feed, body):
        trail = known.get((info, reference))
        if trail is None:
            trail = known[info, reference] = Trail(info, reference, f"feed {feed.name}")
        try:
            yield Entry(parse(text), trail)
        except IndicatorError:
            continue


def told(feed: Feed, body: bytes) -> Iterator[Told]:
    """What a feed tells, line by line. Raises FeedError."""
    text = unpacked(body).decode("utf-8", "replace")
    if feed.format == "csv":
        yield from _csv(feed, text)
    elif feed.format == "json":
        yield from _all(feed, _json(feed, text))
    elif feed.format == "hosts":
        yield from _all(feed, (words[1] for line in _lines(text) if len(words := line.split()) > 1))
    elif feed.format == "suricata":
        yield from _all(feed, _suricata(text))
    elif feed.kind == "user-agents":
        yield from _all(feed, (line for line in text.splitlines() if line.strip() and line[0] != "#"))
    else:
        yield from _all(feed, _lines(text))


def unpacked(body: bytes) -> bytes:
    """A body that may be gzip, or a ZIP archive of one file, as it is. Raises FeedError."""
    try:
        if body.startswith(b"\x1f\x8b"):
            with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
                plain = file.read(MAX_UNPACKED + 1)
        elif body.startswith(b"PK\x03\x04"):
            with zipfile.ZipFile(io.BytesIO(body)) as archive, archive.open(archive.namelist()[0]) as member:
                plain = member.read(MAX_UNPACKED + 1)
        else:
            return body
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise FeedError(f"cannot be unpacked: {error}") from None
    if len(plain) > MAX_UNPACKED:
        raise FeedError(f"holds more than {MAX_UNPACKED} bytes")
    return plain


_COMMENT = re.compile(r"(?:^|\s)(?:#|;|//).*")
_SURICATA_ADDRESSES = re.compile(r"\[([0-9.,/ ]+)\]")
_SURICATA_NAME = re.compile(
    r'(?:dns[._]query|tls[._]sni|http\.host);(?:\s*dotprefix;)?\s*content:"([a-z0-9._-]+\.[a-z]{2,})"', re.I
)


def _all(feed: Feed, texts: Iterator[str]) -> Iterator[Told]:
    return (Told(text, feed.info, feed.reference) for text in texts)


def _lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        line = _COMMENT.sub("", line).strip()
        if line:
            yield line


def _csv(feed: Feed, text: str) -> Iterator[Told]:
    rows = csv.reader(
        (line for line in text.splitlines() if not line.startswith("#")),
        delimiter=feed.delimiter,
        skipinitialspace=True,
    )
    while True:
        try:
            row = next(rows, None)
        except csv.Error:
            continue
        if row is None:
            return
        if len(row) > max(feed.column, feed.info_column, feed.reference_column):
            info = _info(feed, row[feed.info_column].strip()) if feed.info_column >= 0 else feed.info
            reference = row[feed.reference_column].strip() if feed.reference_column >= 0 else feed.reference
            yield Told(row[feed.column].strip(), info, reference)


def _info(feed: Feed, text: str) -> str:
    """The info that a row's own text makes."""
    return feed.info.replace("{}", text.lower()) if feed.info else text


def _json(feed: Feed, text: str) -> Iterator[str]:
    try:
        found = [json.loads(text)]
    except (ValueError, RecursionError) as error:
        raise FeedError(f"is not JSON: {error}") from None
    for key in filter(None, feed.path.split(".")):
        found = [element for each in found for element in _below(each, key)]
    return (each for each in found if isinstance(each, str))


def _below(value: Any, key: str) -> list[Any]:
    if key == "*":
        return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return [value[key]] if isinstance(value, dict) and key in value else []


def _suricata(text: str) -> Iterator[str]:
    """The addresses in the head of rules, and the names that they look for whole."""
    for line in text.splitlines():
        if not line.startswith("alert "):
            continue
        head, _, options = line.partition("(")
        for group in _SURICATA_ADDRESSES.findall(head):
            yield from group.replace(" ", "").split(",")
        yield from _SURICATA_NAME.findall(options)
