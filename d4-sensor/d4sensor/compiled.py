"""Compiled trails: one file that is mapped into memory, opened in milliseconds and shared by all who read it.

The file is an LMDB environment of two databases. ``trails`` has the number of a trail (4 bytes,
little-endian) by key; ``parts`` has all else by name: the table of trails and other lists as JSON, and the
arrays of addresses.py as they lie in memory. Behind them the file ends with a mark and its size, by which one
that was cut off is known. A file that is there never changes: a new one takes its place.

Most of what is looked for is not there. The filter (filter.py) says so without a way through the tree of
LMDB.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import lmdb
import numpy as np

from d4sensor.addresses import Addresses, Ranges
from d4sensor.filter import Filter
from d4sensor.merge import Merged
from d4sensor.trails import Trail, TrailError, Trails, filter_of

END = struct.Struct("<8sQ")
MARK = b"d4trail2"
"""The mark at the end, which another layout changes: its last digit."""

_ANY_MARK = MARK[:-1]

MAX_KEY = 511
"""Bytes of a key that LMDB takes; of a longer one the SHA-256 stands for it."""

_MAP_SIZE = 1 << 32
_ARRAYS = {"four.first": "<u4", "four.reach": "<u4", "six.first": "<u8", "six.reach": "<u8", "bitmap": "u1"}


class OtherLayout(TrailError):
    """The file is whole, but as another version of d4-sensor wrote it: it must be compiled again."""


class Contents(NamedTuple):
    """What a file is compiled from."""

    merged: Merged
    whitelist: list[str]
    user_agents: list[str]
    about: dict[str, Any]
    """Anything that JSON holds, for whoever asks what is in the file."""


def write(path: Path, contents: Contents) -> None:
    """Compiles a file and puts it in the place of ``path``, all at once. Raises OSError."""
    merged = contents.merged
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    table: dict[Trail, int] = {}
    numbers = {key: table.setdefault(trail, len(table)) for key, trail in merged.entries.items()}
    addresses = Addresses.of(merged.networks.values())
    lists = {
        "table": list(table),
        "prefixes": {str(size): prefixes for size, prefixes in addresses.prefixes.items()},
        "patterns": merged.patterns,
    }
    parts = {
        "lists": json.dumps(lists).encode(),
        "about": json.dumps(contents.about).encode(),
        "whitelist": "\n".join(contents.whitelist).encode(),
        "user_agents": "\n".join(contents.user_agents).encode(),
        "filter": filter_of(merged.entries).bytes.tobytes(),
        "four.first": addresses.four.first.tobytes(),
        "four.reach": addresses.four.reach.tobytes(),
        "six.first": addresses.six.first.tobytes(),
        "six.reach": addresses.six.reach.tobytes(),
        "bitmap": addresses.bitmap.tobytes(),
    }
    try:
        with lmdb.open(str(new), subdir=False, lock=False, max_dbs=2, map_size=_MAP_SIZE, mode=0o644) as file:
            stored, rest = file.open_db(b"trails"), file.open_db(b"parts")
            with file.begin(write=True) as transaction:
                cursor = transaction.cursor(stored)
                cursor.putmulti(
                    _rows(sorted(key for key in numbers if not _is_long(key)), numbers), append=True
                )
                cursor.putmulti(_rows(list(filter(_is_long, numbers)), numbers))
                transaction.cursor(rest).putmulti((name.encode(), part) for name, part in parts.items())
        with new.open("ab") as end:
            end.write(END.pack(MARK, end.tell()))
            end.flush()
            os.fsync(end.fileno())
    except (OSError, lmdb.Error) as error:
        new.unlink(missing_ok=True)
        raise OSError(f"{new} cannot be written: {error}") from None
    os.replace(new, path)


def open_(path: Path) -> Trails:
    """The trails in a compiled file. Raises TrailError, FileNotFoundError where there is none."""
    file = _Compiled(path)
    return Trails(
        file,
        file.addresses(),
        file.lists["patterns"],
        file.lines("whitelist"),
        file.lines("user_agents"),
    )


def about(path: Path) -> dict[str, Any]:
    """What was written about the contents of a file. Raises as open_ does."""
    told: dict[str, Any] = _Compiled(path).json("about")
    return told


class _Compiled:
    """An open file. Memory that it hands out is mapped as long as it lives."""

    def __init__(self, path: Path) -> None:
        _examine(path)
        try:
            self._file = lmdb.open(
                str(path), subdir=False, readonly=True, lock=False, max_dbs=2, readahead=False
            )
        except lmdb.Error as error:
            raise TrailError(str(error)) from None
        self._trails, self._parts = self._file.open_db(b"trails"), self._file.open_db(b"parts")
        self._transaction = self._file.begin(buffers=True)
        self.lists: dict[str, Any] = self.json("lists")
        # The transaction keeps the memory mapped too; no cycle through here must hold up its end.
        self.filter = Filter(np.frombuffer(self._part("filter"), dtype=np.uint8), self._transaction)
        self.get: Callable[[str], Trail | None] = self._getter()

    def __len__(self) -> int:
        entries: int = self._transaction.stat(self._trails)["entries"]
        return entries

    def addresses(self) -> Addresses:
        """The addresses, in the memory of the file."""
        four_first, four_reach, six_first, six_reach, bitmap = (
            np.frombuffer(self._part(name), dtype=dtype) for name, dtype in _ARRAYS.items()
        )
        prefixes = {int(size): prefixes for size, prefixes in self.lists["prefixes"].items()}
        return Addresses(Ranges(four_first, four_reach), Ranges(six_first, six_reach), bitmap, prefixes, self)

    def json(self, name: str) -> Any:
        """What was written as JSON."""
        return json.loads(bytes(self._part(name)))

    def lines(self, name: str) -> list[str]:
        """A list of texts."""
        return bytes(self._part(name)).decode().splitlines()

    def _part(self, name: str) -> memoryview:
        part: memoryview = self._transaction.get(name.encode(), db=self._parts)
        return part

    def _getter(self) -> Callable[[str], Trail | None]:
        get, db, may_be = self._transaction.get, self._trails, self.filter.may_be
        table = [Trail(*row) for row in self.lists["table"]]

        def trail(key: str) -> Trail | None:
            if not may_be(key):
                return None
            number = get(_stored(key) or b"\0", db=db)
            return None if number is None else table[int.from_bytes(number, "little")]

        return trail


def _examine(path: Path) -> None:
    """Raises OtherLayout, TrailError or FileNotFoundError where a file is not whole, or not one of ours."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END) - END.size
            file.seek(max(0, size))
            end = file.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise TrailError(f"{path}: {error.strerror}") from None
    if size < 0 or not end.startswith(_ANY_MARK) or end[len(MARK) :] != END.pack(MARK, size)[len(MARK) :]:
        raise TrailError(f"{path}: these are not trails that d4-sensor has compiled; d4-sensor update does")
    if not end.startswith(MARK):
        raise OtherLayout(f"{path} was compiled by another version of d4-sensor")


def _is_long(key: str) -> bool:
    return len(key) > MAX_KEY // 4 and len(key.encode()) > MAX_KEY


def _stored(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest() if _is_long(key) else key.encode()


def _rows(keys: list[str], numbers: dict[str, int]) -> Iterator[tuple[bytes, bytes]]:
    """What LMDB stores; in the order of keys, which is that of their UTF-8 too."""
    return ((_stored(key), numbers[key].to_bytes(4, "little")) for key in keys)
