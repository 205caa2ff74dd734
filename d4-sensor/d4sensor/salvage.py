"""A damaged spool: set aside, and what can be read of it put into a new one, in order.

The new spool has a new UUID, and its numbers begin with 1: numbers on the wire are in a row, and those of
the old one have holes now.

It is made beside the damaged one, as NAME.mending, and called NAME.mended when it is complete. A start that
finds either carries on from there, so a crash at any moment loses nothing.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import struct
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Any

from d4common import files
from d4common.journal import SPOOL_DAMAGED
from d4sensor.spool import Packed, Spool
from d4sensor.spoolfile import (
    PAGE,
    About,
    Row,
    SpoolDamaged,
    connect,
    create,
    explained,
    read_about,
    rows_from,
)

log = logging.getLogger(__name__)

LAST = (1 << 63) - 1
"""The highest number that SQLite can hold."""

AT_ONCE = 500
"""Packets that are put into the new spool in one commit."""


def open_spool(
    path: Path, type: int, meta_header: dict[str, Any] | None, most_bytes: int, most_age: int
) -> Spool:
    """Opens a spool as Spool() does, and mends it first where it is damaged. Raises SpoolError."""
    with explained(path):
        _finish(path)
        try:
            return Spool(path, type, meta_header, most_bytes, most_age)
        except SpoolDamaged as error:
            damage = str(error)
        new = Spool(_beside(path, ".mending"), type, meta_header, most_bytes, most_age)
        with closing(new):
            lost = _copy(path, new)
            kept = new.about.next - 1
        os.replace(new.path, _beside(path, ".mended"))
        aside = _finish(path)
    log.error(
        "%s; packets that could be read and will be sent: %d, lost: %s; the file is kept as %s",
        damage,
        kept,
        "it is not known how many" if lost is None else lost,
        aside,
        extra={"MESSAGE_ID": SPOOL_DAMAGED},
    )
    return Spool(path, type, meta_header, most_bytes, most_age)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _finish(path: Path) -> Path | None:
    """Puts a complete new spool in the place of the damaged one; returns where that one is then."""
    mended = _beside(path, ".mended")
    aside = None
    if mended.exists():
        aside = _beside(path, f".damaged-{int(time.time())}")
        # The write-ahead log first: without its file it does no harm, beside another one it would.
        for suffix in ("-wal", ""):
            with suppress(FileNotFoundError):
                os.replace(_beside(path, suffix), _beside(aside, suffix))
        os.replace(mended, path)
        files.sync(path.parent)
    for suffix in (".mending", ".mending-wal", ".copy", ".copy-wal"):
        _beside(path, suffix).unlink(missing_ok=True)
    return aside


def _copy(path: Path, new: Spool) -> int | None:
    """Puts what can be read into ``new``; returns how many packets are lost, None where that is not known."""
    with closing(_open(path)) as old:
        try:
            about = read_about(old, path)
        except (sqlite3.Error, SpoolDamaged):
            about = None
        rows = _intact(old, about.first if about else _lowest(old))
        packets = (Packed(row.time, row.records, row.payload) for row in rows)
        kept = 0
        while some := list(islice(packets, AT_ONCE)):
            new.append(some)
            kept += len(some)
    if about is None:
        return None
    new.append((), about.position)
    return about.next - about.first - kept


def _open(path: Path) -> sqlite3.Connection:
    """The damaged file; where its first page does not lead to the tables, a copy with that of a new one."""
    try:
        database = connect(path)
        try:
            database.execute("SELECT text, crc FROM about WHERE one < 0")
            database.execute("SELECT time, records, crc, payload FROM packets WHERE number < 0")
            return database
        except sqlite3.Error:
            database.close()
    except SpoolDamaged:
        pass
    copy = _beside(path, ".copy")
    shutil.copyfile(path, copy)
    with suppress(FileNotFoundError):
        shutil.copyfile(_beside(path, "-wal"), _beside(copy, "-wal"))
    _replace_first_page(copy)
    return connect(copy)


def _replace_first_page(copy: Path) -> None:
    """Gives a file the header and the list of tables that every spool begins with.

    The header's number of pages (offset 28) is made to fit, its list of free pages (32, 36) empty.
    """
    with closing(connect(":memory:")) as empty:
        create(empty, About("", 0, None))
        page = bytearray(empty.serialize()[:PAGE])
    struct.pack_into(">III", page, 28, copy.stat().st_size // PAGE, 0, 0)
    with open(copy, "r+b") as file:
        file.write(page)


def _lowest(old: sqlite3.Connection) -> int:
    """The lowest number of a packet, 0 where that cannot be read."""
    with suppress(sqlite3.Error):
        (number,) = old.execute("SELECT min(number) FROM packets").fetchone()
        return number or 0
    return 0


def _intact(old: sqlite3.Connection, first: int) -> Iterator[Row]:
    """The rows from ``first`` on that can be read and are what was written, in order.

    One at a time: sqlite3 reads a row ahead, and where that fails it keeps the one before to itself.
    """
    number, failures = first, 0
    while number <= LAST:
        with suppress(sqlite3.Error):
            row = next(rows_from(old, number, most=1), None)
            if row is None:
                return
            if row.intact() and row.number >= number:
                yield row
                number, failures = row.number + 1, 0
                continue
        # The next row cannot be read, or cannot be believed, its number included. Where a step for each
        # row that may be in its page does not lead beyond, there is more that cannot.
        failures += 1
        number += 1 << max(failures - 100, 0)
