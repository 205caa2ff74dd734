"""The frames of an interface, as a pcap file has them: a header, and a record for each frame.

The header is the first record of the spool, and those behind it go on over restarts: what an acknowledged
session brings is one stream, however often it is resumed. A connection of plain D4 is a stream of its own
for whoever receives it. There the header, which is also the source's position, is sent again before
whatever the connection begins with (Sender.preamble); and no payload ends inside a record (packed_frames).
"""

from __future__ import annotations

import asyncio
import logging
import struct
import time
from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from d4common.config import Endpoint
from d4sensor import capture
from d4sensor.capture import CaptureError, Interface
from d4sensor.source import Intake, SourceError, readable
from d4sensor.spool import Packed

log = logging.getLogger(__name__)

REOPEN = 5.0
"""Seconds between attempts to open an interface that is not there."""

AT_ONCE = 1000
"""Frames that are read at once."""

LONGEST = 262_144
"""The header's word for how long a frame may be, whatever is cut off: it need not change with a setting."""

MAGIC, VERSION = 0xA1B2C3D4, (2, 4)
"""Of pcap files with times in microseconds (draft-ietf-opsawg-pcap)."""

FILE_TYPES = {12: 101}
"""Link types that have another number in files than on this system: raw IP."""


def header(link: int) -> bytes:
    """What a pcap file of frames of a link type (libpcap's number) begins with."""
    return struct.pack("<IHHiIII", MAGIC, *VERSION, 0, 0, LONGEST, FILE_TYPES.get(link, link))


def record(time: tuple[int, int], length: int, frame: bytes) -> bytes:
    """A frame that had ``length`` bytes, at a time in seconds and microseconds, as a pcap file has it."""
    return struct.pack("<IIII", *time, len(frame), length) + frame


def packed_frames(records: Iterable[bytes], snaplen: int) -> Iterator[Packed]:
    """Whole records as payloads: of at most ``snaplen`` bytes together, or of a longer one alone."""
    now = int(time.time())
    waiting: list[bytes] = []
    size = 0
    for each in records:
        if waiting and size + len(each) > snaplen:
            yield Packed(now, len(waiting), b"".join(waiting))
            waiting, size = [], 0
        waiting.append(each)
        size += len(each)
    if waiting:
        yield Packed(now, len(waiting), b"".join(waiting))


def filter_without(filter: str, servers: Iterable[Endpoint]) -> str:
    """``filter``, but for what is said with ``servers``: to see that is to send it, and so on for ever.

    Where one is known by a name, whose addresses may change, all TCP with its port is left out.
    """
    own = " or ".join(map(_traffic, servers))
    return f"({filter}) and not ({own})" if filter else f"not ({own})"


def _traffic(server: Endpoint) -> str:
    port = f"tcp port {server.port}"
    try:
        return f"({port} and host {ip_address(server.host)})"
    except ValueError:
        return port


class Pcap:
    """Gives the frames of ``interface`` that ``filter`` lets pass, ``snaplen`` bytes of each at most.

    Where there is no room they wait in the kernel's ring, of ``buffer`` bytes, which drops those for which
    it has none.
    """

    def __init__(self, interface: str, snaplen: int, buffer: int, filter: str) -> None:
        self._name = interface
        self._snaplen = snaplen
        self._buffer = buffer
        self._filter = filter

    async def run(self, intake: Intake) -> None:
        """Captures for ever, and waits for an interface to come (back). Raises SourceError."""
        begun, said = intake.position, ""
        while True:
            try:
                interface = capture.open_interface(self._name, self._snaplen, self._buffer, self._filter)
            except CaptureError as error:
                if str(error) != said:
                    log.error("%s; trying again every %.0f s", error, REOPEN)
                said = str(error)
                await asyncio.sleep(REOPEN)
                continue
            try:
                log.info("interface %s is being captured", self._name)
                begun = await self._begin(begun, interface, intake)
                await self._capture(interface, intake)
            except CaptureError as error:
                said = str(error)
                log.error("%s; trying again every %.0f s", error, REOPEN)
            finally:
                interface.close()

    async def _begin(self, begun: str | None, interface: Interface, intake: Intake) -> str:
        """Gives the header, unless the frames go on that were ``begun`` with it. Returns it."""
        begins = header(interface.link)
        if begun is None:
            await intake.put_all([begins], begins.hex())
        elif begun != begins.hex():
            raise SourceError(
                f"interface {self._name}: its frames are of link type {interface.link}, those in the "
                "spool of another: capture it under another name, or remove the spool once it is empty"
            )
        return begins.hex()

    async def _capture(self, interface: Interface, intake: Intake) -> None:
        """Gives frames until the interface is gone. Raises CaptureError."""
        while True:
            await readable(interface.fileno())
            while frames := interface.frames(AT_ONCE):
                await intake.put_all([record(*frame) for frame in frames])
