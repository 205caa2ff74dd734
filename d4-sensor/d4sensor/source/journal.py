"""The system's journal: an object of JSON for each entry, as `journalctl -o json --all` prints it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from itertools import islice
from syslog import LOG_DEBUG
from typing import Any

from systemd import journal

from d4sensor.source import Intake, SourceError

POLL = 0.5
"""Seconds between looks at the journal, once it was read to its end."""

AT_ONCE = 256
"""Entries that are read at once."""

Entry = dict[str, Any]
"""A field is text, or bytes where it is no UTF-8, or a list of such where it came more than once."""

_AS_THEY_ARE = dict.fromkeys(journal.DEFAULT_CONVERTERS, lambda value: value)
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""What a text that journalctl prints does not have."""


class Journal:
    """Gives the entries that match, each once: at the first start, those that come from then on."""

    def __init__(
        self, units: Sequence[str], priority: int, matches: Sequence[str], own_unit: str | None = None
    ) -> None:
        """Those of ``units``, if any are named; of ``priority`` or a graver one (7: debug, and those that
        have none); with one of the values that ``matches`` has for a field (FIELD=value). Those of
        ``own_unit`` are left out: what is said about sending would be sent, and so on for ever.
        """
        self._units = units
        self._priority = priority
        self._matches = matches
        self._own_unit = own_unit
        self._reader: journal.Reader

    async def run(self, intake: Intake) -> None:
        """Reads for ever. Raises SourceError."""
        cursor, entries = await asyncio.to_thread(self._open, intake.position)
        await intake.put_all([], cursor)
        while True:
            if entries:
                records = [encode(entry) for entry in entries if self._wanted(entry)]
                await intake.put_all(records, entries[-1]["__CURSOR"])
            else:
                await asyncio.sleep(POLL)
            entries = await asyncio.to_thread(self._read)

    def _open(self, cursor: str | None) -> tuple[str | None, list[Entry]]:
        """Opens the journal behind the entry at ``cursor``, or at its end where that is None.

        Returns the cursor (None for a journal without entries), and the entry that was read on the way.
        """
        reader = self._reader = journal.Reader(converters=_AS_THEY_ARE)
        reader.data_threshold = 0
        reader.fileno()  # watches for files that are new
        if not (reader.has_persistent_files() or reader.has_runtime_files()):
            raise SourceError(
                "no journal can be read: there is none, or the user is not in the group systemd-journal"
            )
        if cursor is None:
            reader.seek_tail()
            cursor = reader.get_previous().get("__CURSOR")
        self._select()
        if cursor is None:
            reader.seek_head()
            return None, []
        try:
            reader.seek_cursor(cursor)
        except OSError:
            raise SourceError(f"the journal does not take the cursor {cursor!r} of the spool") from None
        found = reader.get_next()
        return cursor, [found] if found and not reader.test_cursor(cursor) else []

    def _read(self) -> list[Entry]:
        """The next entries, if there are any."""
        found = list(islice(iter(self._reader.get_next, {}), AT_ONCE))
        if not found:
            self._reader.process()
        return found

    def _select(self) -> None:
        reader = self._reader
        for unit in self._units:
            reader.add_match(_SYSTEMD_UNIT=unit)
            reader.add_disjunction()
            reader.add_match(_PID=1)
            reader.add_match(UNIT=unit)
            reader.add_disjunction()
        reader.add_conjunction()
        if self._priority < LOG_DEBUG:
            reader.log_level(self._priority)
        for match in self._matches:
            reader.add_match(match)

    def _wanted(self, entry: Entry) -> bool:
        return self._own_unit is None or entry.get("_SYSTEMD_UNIT") != self._own_unit


def encode(entry: Entry) -> bytes:
    """An entry as a line of JSON."""
    fields = {key: _value(value) for key, value in entry.items()}
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _value(value: object) -> object:
    """A value as JSON has it: text, or the numbers of its bytes where it is binary."""
    if isinstance(value, list):
        return [_value(each) for each in value]
    if isinstance(value, tuple):
        return str(value[0])  # the monotonic time, whose boot has a field of its own
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            return list(value)
    text = str(value)
    return list(text.encode()) if _CONTROL.search(text) else text
