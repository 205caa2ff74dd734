"""The file of a spool: its tables, what tells that they are as they were written, SQLite's errors in words.

Two tables in one SQLite file in WAL mode: ``packets`` has a row for each packet, ``about`` has one row, the
JSON of an About. SQLite does not notice a bit that has changed inside a row, so each has its CRC-32 as well.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from struct import error as StructError
from typing import Any, NamedTuple

LAYOUT = 1
"""Version of the tables and of About, in the file's ``user_version``."""

APPLICATION = 0x44345350
"""``D4SP``, in the file's ``application_id`` (https://www.sqlite.org/fileformat2.html, 1.3.17)."""

PAGE = 8192
"""Bytes of a page: two packets of the usual snaplen, 4096, fit in one."""

MOST_LOG = 16 << 20
"""Bytes that the write-ahead log may keep once it has been written into the file."""

TABLES = (
    "CREATE TABLE about (one INTEGER PRIMARY KEY CHECK (one = 1), text BLOB NOT NULL, crc INTEGER NOT NULL)",
    "CREATE TABLE packets (number INTEGER PRIMARY KEY, time INTEGER NOT NULL, records INTEGER NOT NULL,"
    " crc INTEGER NOT NULL, payload BLOB NOT NULL)",
)

_CHECKED = Struct("<QQQ")


class SpoolError(Exception):
    """The spool cannot be used; the message says why, and what to do."""


class SpoolNewer(SpoolError):
    """A later version of d4-sensor has made it. The file has not been touched."""


class SpoolDamaged(SpoolError):
    """What the file holds is not what was written. d4sensor.salvage makes a new one of what is left."""


class SpoolBlocked(SpoolError):
    """The disk does not take or give it now: full, read-only, failing. Nothing has changed; try again."""


@dataclass(frozen=True)
class About:
    """What is known of a spool besides its packets; committed with each change of them.

    ``uuid`` is the spool's, ``type`` the D4 type of all packets, with the ``meta_header`` of type 254.
    Servers may have packets up to ``known``; what comes behind was never sent.
    Packets ``first`` to ``next - 1`` wait; they have ``size`` bytes and ``records`` records (lines, for
    types that have lines). ``dropped_packets`` and ``dropped_records`` were given up unsent since the
    spool was made. ``position`` says in its source's own words up to where the source is in the spool.
    """

    uuid: str
    type: int
    meta_header: dict[str, Any] | None
    first: int = 1
    next: int = 1
    known: int = 0
    size: int = 0
    records: int = 0
    dropped_packets: int = 0
    dropped_records: int = 0
    position: str | None = None


class Row(NamedTuple):
    """A row of ``packets`` as it was read, to be believed if intact(). ``time`` is in seconds."""

    number: int
    time: int
    records: int
    crc: int
    payload: bytes

    def intact(self) -> bool:
        """Whether this is what was written."""
        try:
            return checksum(self.number, self.time, self.records, self.payload) == self.crc
        except (TypeError, StructError):
            return False


def connect(path: Path | str) -> sqlite3.Connection:
    """A connection that no other process shares. Raises SpoolError."""
    with explained(path):
        database = sqlite3.connect(path, timeout=0, isolation_level=None)
        try:
            database.text_factory = bytes
            for setting in (
                f"page_size = {PAGE}",
                "locking_mode = EXCLUSIVE",
                "cell_size_check = ON",
                "temp_store = MEMORY",
                f"journal_size_limit = {MOST_LOG}",
            ):
                database.execute(f"PRAGMA {setting}")
        except BaseException:
            database.close()
            raise
    return database


def refuse_newer(database: sqlite3.Connection, path: Path) -> None:
    """Raises SpoolNewer for a layout that only a later version knows."""
    (layout,) = database.execute("PRAGMA user_version").fetchone()
    if layout > LAYOUT:
        raise SpoolNewer(
            f"{path} has layout {layout}, and this version knows layouts up to {LAYOUT}: a later d4-sensor "
            "made it; install that one again, let it send what waits, or move the file away"
        )


def is_new(database: sqlite3.Connection) -> bool:
    """Whether there is nothing in the file yet."""
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return bool(pages <= 1 and tables == 0)


def create(database: sqlite3.Connection, about: About) -> None:
    """Makes the tables in an empty file."""
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("BEGIN IMMEDIATE")
    for table in TABLES:
        database.execute(table)
    database.execute(f"PRAGMA application_id = {APPLICATION}")
    database.execute(f"PRAGMA user_version = {LAYOUT}")
    write_about(database, about)
    database.execute("COMMIT")


def write_about(database: sqlite3.Connection, about: About) -> None:
    """Puts an About in the place of the one that is there, if any is."""
    text = json.dumps(vars(about), separators=(",", ":")).encode()
    database.execute("REPLACE INTO about VALUES (1, ?, ?)", (text, zlib.crc32(text)))


def read_about(database: sqlite3.Connection, path: Path) -> About:
    """The About of a file. Raises SpoolDamaged where it is not what was written."""
    (application,) = database.execute("PRAGMA application_id").fetchone()
    found = database.execute("SELECT text, crc FROM about").fetchall()
    if application != APPLICATION or len(found) != 1:
        raise SpoolDamaged(f"{path} is damaged, or is not a spool")
    text, crc = found[0]
    if not isinstance(text, bytes) or zlib.crc32(text) != crc:
        raise SpoolDamaged(f"{path} is damaged: what it says about itself is not what was written")
    return About(**json.loads(text))


def rows_from(database: sqlite3.Connection, number: int, most: int = -1) -> Generator[Row, None, None]:
    """The rows of ``packets`` from ``number`` on, in order, as they are; at most so many, or all."""
    query = (
        "SELECT number, time, records, crc, payload FROM packets WHERE number >= ? ORDER BY number LIMIT ?"
    )
    with closing(database.execute(query, (number, most))) as rows:
        yield from map(Row._make, rows)


def checksum(number: int, time: int, records: int, payload: bytes) -> int:
    """CRC-32 of a packet and of what is said about it."""
    return zlib.crc32(payload, zlib.crc32(_CHECKED.pack(number, time, records)))


@contextmanager
def explained(path: Path | str) -> Iterator[None]:
    """Turns errors of SQLite (https://www.sqlite.org/rescode.html) and of files into those of this module."""
    try:
        yield
    except sqlite3.Error as error:
        raise _explain(path, error) from error
    except OSError as error:
        raise SpoolBlocked(f"{path} cannot be read and written now: {error.strerror}") from error


def _explain(path: Path | str, error: sqlite3.Error) -> Exception:
    if isinstance(error, sqlite3.ProgrammingError):
        return error
    code = error.sqlite_errorcode
    if code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return SpoolError(f"{path} is in use by another process: only one can send from a spool")
    if code & 0xFF in _DAMAGED or code in _UNREADABLE:
        return SpoolDamaged(f"{path} is damaged: {error}")
    return SpoolBlocked(f"{path} cannot be read and written now: {error}")


# With SQLITE_ERROR SQLite says that a statement is wrong. Those here are right, so the tables are not.
_DAMAGED = {
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_TOOBIG,
}
_UNREADABLE = {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_CORRUPTFS}
