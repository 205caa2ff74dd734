"""The packets that wait for the server, on disk: numbered, in order, bounded, proof against a loss of power.

Those from ``first`` to ``next - 1`` are there, none of them missing. A number is never used again, and
never given to anything before its packet is on the disk.

All of it blocks, and a Spool belongs to the thread that opened it; d4sensor.outbox is its other side.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from d4common.outbox import Numbered, up_to
from d4sensor.spoolfile import (
    PAGE,
    About,
    Row,
    SpoolBlocked,
    SpoolDamaged,
    SpoolError,
    checksum,
    connect,
    create,
    explained,
    is_new,
    read_about,
    refuse_newer,
    rows_from,
    write_about,
)

SLACK = 16 << 20
"""Bytes of free pages that the file may keep when hardly anything waits."""


AT_ONCE = 1024
"""Packets that are taken out in one commit: as many as a client has on its way, at the usual snaplen."""

DROPPED = 64
"""A spool that is full drops this part of its bound at a time: each time the client begins anew behind it."""

RESERVE = 64 << 20
"""Bytes of the disk that new packets leave free.

Taking packets out writes too: to the log first, and its pages to the end of the file. On a disk without any
room a spool could not be emptied, and would keep the disk full for ever.
"""


class Packed(NamedTuple):
    """A packet that has no number yet: made at ``time``, with so many ``records``."""

    time: int
    records: int
    payload: bytes


class Spool:
    """An open spool. ``about`` says what is in it, and may be read from any thread."""

    def __init__(
        self, path: Path, type: int, meta_header: dict[str, Any] | None, most_bytes: int, most_age: int
    ) -> None:
        """Opens the spool, makes it if it is not there, and reads all of it once to see that it is whole.

        The oldest packets go where payloads exceed ``most_bytes`` together, or are older than ``most_age``
        seconds. Raises SpoolNewer, SpoolDamaged, SpoolBlocked; SpoolError where another process has it, or
        it holds packets of another type or meta header.
        """
        self.path = path
        self.released = False
        """Whether packets may be sent."""
        self.most_bytes = most_bytes
        """Bytes of payload that there is room for."""
        self._most_age = most_age
        self._database = connect(path)
        try:
            with explained(path):
                refuse_newer(self._database, path)
                if is_new(self._database):
                    create(self._database, About(str(uuid4()), type, meta_header))
                self.about = read_about(self._database, path)
                self._refuse_others(type, meta_header)
                self._verify()
        except BaseException:
            self.close()
            raise

    @property
    def id(self) -> UUID:
        """The spool's own UUID, which gives its numbers their meaning."""
        return UUID(self.about.uuid)

    def append(
        self, packets: Sequence[Packed], position: str | None = None, acknowledged: int = 0
    ) -> list[Numbered]:
        """Adds packets in one commit, which a loss of power cannot undo, and gives them their numbers.

        ``position`` is committed with them; None leaves it as it is. Those up to ``acknowledged`` are taken
        out as acknowledge() does it, but mostly in the same commit, which then takes half the time. The
        oldest packets are dropped as the bounds want it, even where nothing is added. Raises SpoolBlocked
        or SpoolDamaged, and has added nothing then.
        """
        size = sum(len(packet.payload) for packet in packets)
        if acknowledged >= self.about.first + AT_ONCE or self._is_short_of_room(size):
            self.acknowledge(acknowledged)
            self._make_room(size)
            self._refuse_full_disk(size)
        about = self._without(acknowledged + 1)
        rows = [
            Row(number, packet.time, packet.records, checksum(number, *packet), packet.payload)
            for number, packet in enumerate(packets, about.next)
        ]
        about = replace(
            about,
            next=about.next + len(rows),
            known=about.next + len(rows) - 1 if self.released else about.known,
            size=about.size + size,
            records=about.records + sum(row.records for row in rows),
            position=about.position if position is None else position,
        )
        if about != self.about:
            with self._transaction(durable=bool(packets) or position is not None):
                self._delete(about.first)
                self._database.executemany("INSERT INTO packets VALUES (?, ?, ?, ?, ?)", rows)
                write_about(self._database, about)
            self.about = about
            self._shrink()
        return [Numbered(row.number, row.time, row.payload) for row in rows]

    def release(self) -> None:
        """Makes all that waits, and all that comes, known: it may be sent. A loss of power cannot undo this.

        Raises SpoolBlocked or SpoolDamaged.
        """
        if not self.released:
            about = replace(self.about, known=self.about.next - 1)
            with self._transaction(durable=True):
                write_about(self._database, about)
            self.about = about
            self.released = True

    def read(self, number: int, most: int) -> list[Numbered]:
        """Packets from ``number`` on, or from the first behind it that waits, in a row.

        ``most`` bytes of payload together, but at least one packet if there is any. Raises SpoolBlocked or
        SpoolDamaged.
        """
        if number >= self.about.next:
            return []
        with explained(self.path), closing(self._rows(max(number, self.about.first))) as rows:
            return up_to(most, (Numbered(row.number, row.time, row.payload) for row in rows))

    def acknowledge(self, number: int) -> None:
        """Takes out all packets up to ``number``.

        A loss of power may undo this: such packets are sent again, and the server knows them by their
        numbers. Raises SpoolBlocked or SpoolDamaged, and may have taken out some then.
        """
        first = min(number + 1, self.about.next)
        if first > self.about.first:
            while first > self.about.first:
                self._take_out(self._without(min(first, self.about.first + AT_ONCE)))
            self._shrink()

    def close(self) -> None:
        """Closes the file; another spool, or another process, may open it then."""
        with suppress(sqlite3.Error):
            self._database.close()

    def _refuse_others(self, type: int, meta_header: dict[str, Any] | None) -> None:
        about = self.about
        if (about.type, about.meta_header) != (type, meta_header):
            raise SpoolError(
                f"{self.path} holds packets of type {_type(about.type, about.meta_header)}, not "
                f"{_type(type, meta_header)}: send them with the configuration that they were made with, "
                "or move the file away"
            )

    def _verify(self) -> None:
        """Raises SpoolDamaged unless the structure is sound and each row is there and intact."""
        with closing(self._database.execute("PRAGMA quick_check(1)")) as check:
            found = check.fetchone()[0]
        if found != b"ok":
            raise SpoolDamaged(f"{self.path} is damaged: {found.decode(errors='replace').splitlines()[-1]}")
        size = records = 0
        for row in self._rows(0):
            size += len(row.payload)
            records += row.records
        if (size, records) != (self.about.size, self.about.records):
            raise SpoolDamaged(f"{self.path} is damaged: it has fewer or more packets than were written")

    def _rows(self, number: int) -> Generator[Row, None, None]:
        """The rows from ``number`` on. Raises SpoolDamaged where one is not what should be there."""
        expected = max(number, self.about.first)
        with closing(rows_from(self._database, number)) as rows:
            for row in rows:
                if row.number != expected or not row.intact():
                    raise SpoolDamaged(f"{self.path} is damaged: packet {expected} is not what was written")
                yield row
                expected += 1
        if expected != self.about.next:
            raise SpoolDamaged(f"{self.path} is damaged: packet {expected} is not where it was")

    @contextmanager
    def _transaction(self, durable: bool) -> Iterator[None]:
        """All or nothing. What is not durable may be undone by a loss of power, but never out of its turn."""
        with explained(self.path):
            try:
                self._database.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                self._database.execute("BEGIN IMMEDIATE")
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    with suppress(sqlite3.Error):
                        self._database.execute("ROLLBACK")
                raise

    def _is_short_of_room(self, size: int) -> bool:
        """Whether something must go for so many more bytes, or the disk may not take them."""
        if self._first_to_keep(self.most_bytes - size) > self.about.first:
            return True
        return size > 0 and self._free_disk() < RESERVE + size

    def _refuse_full_disk(self, size: int) -> None:
        """Raises SpoolBlocked unless so many more bytes leave RESERVE, or fit into free pages of the file."""
        free = self._free_disk()
        if size and free < RESERVE + size and self._free() < 2 * size:
            raise SpoolBlocked(
                f"{self.path} cannot grow: the disk has {free >> 20} MiB left, and {RESERVE >> 20} MiB are "
                "left free so that packets can be taken out"
            )

    def _free_disk(self) -> int:
        """Bytes that the disk has left."""
        with explained(self.path):
            disk = os.statvfs(self.path.parent)
        return disk.f_bavail * disk.f_frsize

    def _free(self) -> int:
        """Bytes of pages that the file has and does not use."""
        with explained(self.path):
            (pages,) = self._database.execute("PRAGMA freelist_count").fetchone()
        return int(pages) * PAGE

    def _make_room(self, size: int) -> None:
        """Drops the oldest packets where they are too old, or too many for so many more bytes."""
        most = self.most_bytes - size
        if self.about.size > most:
            most -= self.most_bytes // DROPPED
        before = None
        while before != self.about.first:
            before = self.about.first
            kept = self._without(self._first_to_keep(most))
            self._take_out(
                replace(
                    kept,
                    dropped_packets=kept.dropped_packets + kept.first - before,
                    dropped_records=kept.dropped_records + self.about.records - kept.records,
                )
            )

    def _first_to_keep(self, most: int) -> int:
        """The oldest packet that may stay beside ``most`` bytes, or one that is AT_ONCE before it at most."""
        too_much, too_old = self.about.size - most, int(time.time()) - self._most_age
        first = self.about.first
        query = "SELECT time, length(payload) FROM packets ORDER BY number LIMIT ?"
        with explained(self.path), closing(self._database.execute(query, (AT_ONCE,))) as oldest:
            for made, length in oldest:
                if too_much <= 0 and made >= too_old:
                    break
                too_much -= length
                first += 1
        return first

    def _without(self, first: int) -> About:
        """What is in the spool when the packets before ``first`` have left it."""
        about = self.about
        first = min(first, about.next)
        if first <= about.first:
            return about
        query = "SELECT total(length(payload)), total(records) FROM packets WHERE number < ?"
        with explained(self.path):
            size, records = map(int, self._database.execute(query, (first,)).fetchone())
        return replace(about, first=first, size=about.size - size, records=about.records - records)

    def _take_out(self, about: About) -> None:
        """Deletes the packets that are not in the spool by ``about``, at most AT_ONCE."""
        if about != self.about:
            with self._transaction(durable=False):
                self._delete(about.first)
                write_about(self._database, about)
            self.about = about

    def _delete(self, first: int) -> None:
        """Deletes the packets before ``first``."""
        if first > self.about.first:
            self._database.execute("DELETE FROM packets WHERE number < ?", (first,))

    def _shrink(self) -> None:
        """Gives space back to the file system when so little waits that VACUUM has nothing to copy."""
        if self.about.size < SLACK // 16 and self._free() > SLACK:
            with suppress(SpoolBlocked), explained(self.path):  # no room for it now: a later one will do
                self._database.execute("VACUUM")
                self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _type(type: int, meta_header: dict[str, Any] | None) -> str:
    return f"{type} {json.dumps(meta_header)}" if meta_header else str(type)
