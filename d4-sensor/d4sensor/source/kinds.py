"""A source as its configuration describes it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from d4common.config import Endpoint
from d4common.sender import pack_lines
from d4common.service import inherited_sockets
from d4sensor.outbox import Pack
from d4sensor.source import Intake, Source, SourceError
from d4sensor.source.cutting import Base64Line, Chunks, Cutter, Lines
from d4sensor.source_config import LINES
from d4sensor.source_config import Source as Settings
from d4sensor.spool import Packed

# A process has one source: it imports nothing of the others, and nothing that those need.


def make(settings: Settings, servers: Sequence[Endpoint], name: str | None) -> Source:
    """The source; ``servers`` are those it is sent to. Without a ``name`` there is no spool, and nothing
    remembers what was sent. Raises SourceError.
    """
    match settings.kind:
        case "file":
            from d4sensor.source.file import File

            assert settings.path is not None
            return File(settings.path, _cutter(settings))
        case "folder":
            from d4sensor.source.folder import Folder

            assert settings.path is not None
            return Folder(settings.path, settings.settle, _cutter(settings), only_new=name is None)
        case "unix":
            return _unix(settings, name)
        case "journal":
            from d4sensor.source.journal import Journal

            return Journal(settings.unit, settings.priority, settings.match, name and unit(name))
        case "pcap":
            from d4sensor.source.pcap import Pcap, filter_without

            filter = filter_without(settings.filter, servers)
            return Pcap(settings.interface, settings.frame_snaplen, settings.buffer, filter)
        case _:
            from d4sensor.source.stdin import Stdin

            return Stdin(_cutter(settings))


def packing(settings: Settings) -> Pack:
    """How its records become payloads."""
    if settings.kind == "pcap":
        from d4sensor.source.pcap import packed_frames

        return packed_frames
    return partial(_packed, lines=settings.data_type in LINES)


def _packed(records: Iterable[bytes], snaplen: int, lines: bool) -> Iterator[Packed]:
    """Records as payloads, each of which ends where one does unless that is longer than ``snaplen``."""
    now = int(time.time())
    for payload in pack_lines(records, snaplen):
        yield Packed(now, payload.count(b"\n") if lines else 1, payload)


def preamble(settings: Settings, intake: Intake) -> bytes:
    """What must come before records that are sent without those before them."""
    if settings.kind == "pcap" and intake.position:
        return bytes.fromhex(intake.position)  # the header of the file
    return b""


def _cutter(settings: Settings) -> Cutter:
    if settings.base64:
        return Base64Line()
    if settings.data_type in LINES:
        return Lines()
    return Chunks()


def _unix(settings: Settings, name: str | None) -> Source:
    from d4sensor.source.unix import SOCKETS, Unix, listen

    if sockets := inherited_sockets(SOCKETS):
        return Unix(sockets)
    if settings.path:
        return Unix([listen(settings.path)])
    raise SourceError(
        "kind = unix: systemd has handed over no socket, and path is not set; "
        f"`systemctl enable --now d4-source@{name}.socket` makes /run/d4/{name}.sock"
    )


def unit(name: str) -> str:
    """The systemd unit of a source."""
    return f"d4-source@{name}.service"
