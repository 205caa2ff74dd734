"""Packets off the wire or out of a file, many at a time.

A batch is what pcapy-ng's ``next_batch`` makes of so many packets: their bytes one behind the other, and
four numbers for each. No packet becomes a Python object here.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np
import pcapy
from numpy.typing import NDArray

from d4sensor.links import LINKS
from d4sensor.unpack import Unpacked, unpacker

BATCH = 16_384
"""Packets of one batch, at most. The more, the less of what is done once for all of them falls to each."""

BATCH_BYTES = 8 << 20
"""Bytes of one batch, as long as its packets have the length of those before."""

LONGEST = 262_144
"""Bytes of a packet, at most: what libpcap takes."""

POLL_MILLISECONDS = 100
"""How long the kernel may hold packets back to hand over more of them at once."""


class CaptureError(Exception):
    """A capture that cannot be opened, or cannot be read any further; the message names it."""


class Batch(NamedTuple):
    """Some packets of one capture, in the order in which they were captured.

    ``data`` holds their bytes. ``meta`` has a row for each: the time in seconds and microseconds since the
    epoch, the offset in ``data``, and the number of bytes captured. ``link`` is libpcap's number for what
    the bytes begin with (DLT_EN10MB, DLT_LINUX_SLL, ...), one of links.LINKS.
    """

    data: bytes
    meta: NDArray[np.uint32]
    link: int

    @property
    def mean_length(self) -> int:
        """Bytes of a packet, on average; there is at least one."""
        return len(self.data) // len(self.meta)


class Frame(NamedTuple):
    """A frame: its time in seconds and microseconds, the bytes that it had, and those that were captured."""

    time: tuple[int, int]
    length: int
    data: bytes


class KernelCounts(NamedTuple):
    """What the kernel counted since the capture began. ``dropped``: no room in the ring."""

    received: int
    dropped: int
    dropped_by_interface: int


class CaptureFile:
    """A capture file being read; see open_file."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._source = _File(path)
        self.link = self._source.link
        self._fitting = _fitting(LONGEST)
        self._delivered = 0
        self._broken = ""

    def read(self) -> Batch | None:
        """The next packets, or None at the end of the file.

        Raises CaptureError where the file is damaged or ends inside a packet, once all packets before were
        returned (but not the last few of a pipe, which cannot be read twice).
        """
        if self._broken:
            raise CaptureError(f"{self.path}: {self._broken}")
        try:
            data, meta = self._source.next_batch(self._fitting)
        except _Damage as damage:
            self._broken = str(damage)
            return self._rest() or self.read()
        if not meta:
            return None
        batch = _batch(data, meta, self.link)
        self._fitting = _fitting(batch.mean_length)
        self._delivered += len(batch.meta)
        return batch

    def _rest(self) -> Batch | None:
        """The packets before the damage that are not delivered yet.

        libpcap's error takes with it the packets that it had already put into the same batch, so the file
        is read once more, one at a time at the end.
        """
        if not os.path.isfile(self.path):
            return None
        again = _File(self.path)
        left = self._delivered
        while left:
            left -= len(again.next_batch(min(left, _fitting(LONGEST)))[1]) // _META_SIZE
        packets: list[bytes] = []
        rows: list[NDArray[np.uint32]] = []
        size = 0
        try:
            while (one := again.next_batch(1))[1]:
                data, meta = one
                row = np.frombuffer(meta, dtype=np.uint32).copy()
                row[2] = size
                size += len(data)
                packets.append(data)
                rows.append(row)
        except _Damage:
            pass
        finally:
            again.close()
        return Batch(b"".join(packets), np.stack(rows), self.link) if rows else None

    def close(self) -> None:
        """Closes the file."""
        self._source.close()


class Interface:
    """A network interface being watched; see open_interface."""

    def __init__(self, name: str, source: pcapy.Reader) -> None:
        self.name = name
        self._source = source
        self._fitting = _fitting(LONGEST)
        self.link: int = source.datalink()

    def fileno(self) -> int:
        """The descriptor that is readable when packets wait."""
        descriptor: int = self._source.getfd()
        return descriptor

    def read(self) -> Batch | None:
        """The packets that wait, no more than fit into a batch, or None; never blocks.

        Raises CaptureError when the interface has gone away or down.
        """
        try:
            data, meta = self._source.next_batch(self._fitting)
        except pcapy.PcapError as error:
            raise CaptureError(f"interface {self.name}: {error}") from None
        if not meta:
            return None
        batch = _batch(data, meta, self.link)
        self._fitting = _fitting(batch.mean_length)
        return batch

    def frames(self, most: int) -> list[Frame]:
        """Some of the frames that wait, each by itself; never blocks. Raises CaptureError as read() does."""
        found: list[Frame] = []

        def take(head: Any, data: bytes) -> None:
            found.append(Frame(head.getts(), head.getlen(), data))

        try:
            self._source.dispatch(most, take)
        except pcapy.PcapError as error:
            raise CaptureError(f"interface {self.name}: {error}") from None
        return found

    def counts(self) -> KernelCounts:
        """The kernel's own count of what it captured and what it had to drop."""
        try:
            return KernelCounts(*self._source.stats())
        except pcapy.PcapError as error:
            raise CaptureError(f"interface {self.name}: {error}") from None

    def close(self) -> None:
        """Stops the capture."""
        self._source.close()


def open_file(path: str) -> CaptureFile:
    """Opens a capture file: pcap or pcapng, which may be compressed with gzip, xz or zstd.

    ``-`` is standard input, where nothing is unpacked. Raises CaptureError, also for a link type that
    d4-sensor does not read.
    """
    return CaptureFile(path)


def open_interface(name: str, snaplen: int, buffer_bytes: int, filter: str = "") -> Interface:
    """Begins to watch a network interface, or all of them (``any``), in promiscuous mode.

    ``snaplen`` is how many bytes of a packet are kept, ``buffer_bytes`` the size of the kernel's ring,
    ``filter`` an expression of pcap-filter(7). Raises CaptureError.
    """
    try:
        source = pcapy.create(name)
        source.set_snaplen(snaplen)
        source.set_promisc(1)
        source.set_timeout(POLL_MILLISECONDS)
        source.set_buffer_size(buffer_bytes)
        status = source.activate()
        if status < 0:
            reason = _REFUSALS.get(status, f"libpcap refuses with status {status}")
            raise CaptureError(f"interface {name}: {reason}")
        source.setnonblock(1)
        if filter:
            source.setfilter(filter)
    except pcapy.PcapError as error:
        raise CaptureError(f"interface {name}: {error}") from None
    interface = Interface(name, source)
    if unread := _unread(interface.link):
        interface.close()
        raise CaptureError(f"interface {name}: {unread}")
    return interface


def filter_problem(filter: str) -> str | None:
    """What libpcap has against a filter; None where it is right. Its link type is taken to be Ethernet."""
    try:
        pcapy.compile(pcapy.DLT_EN10MB, 65535, filter, 1, 0)
    except pcapy.PcapError as error:
        return str(error)
    return None


_META_SIZE = 16

# The negative results of pcap_activate(3PCAP) that an administrator can do something about.
_REFUSALS = {
    -5: "there is no such interface",
    -8: "no permission to capture; this needs root or CAP_NET_RAW",
    -9: "the interface is not up",
    -11: "no permission for promiscuous mode; this needs root or CAP_NET_RAW",
}


class _Damage(Exception):
    """What is wrong with a file from here on."""


class _File:
    """A file as libpcap reads it, behind a process that unpacks it where it is compressed."""

    def __init__(self, path: str) -> None:
        command = unpacker(path)
        try:
            self._unpacked = Unpacked(path, command) if command else None
        except FileNotFoundError:
            raise CaptureError(f"{path}: compressed; the command {command} would read it") from None
        try:
            self._source = pcapy.open_offline(self._unpacked.path if self._unpacked else path)
        except pcapy.PcapError as error:
            reason = self._unpacking_problem() or str(error).removeprefix(f"{path}: ")
            raise CaptureError(f"{path}: not a capture file that can be read: {reason}") from None
        self.link: int = self._source.datalink()
        if unread := _unread(self.link):
            self.close()
            raise CaptureError(f"{path}: {unread}")

    def next_batch(self, count: int) -> tuple[bytes, bytes]:
        """Up to ``count`` packets, none at the end of the file. Raises _Damage."""
        try:
            data, meta = self._source.next_batch(count)
        except pcapy.PcapError as error:
            raise _Damage(self._unpacking_problem() or str(error)) from None
        if not meta and (problem := self._unpacking_problem()):
            raise _Damage(problem)
        return data, meta

    def close(self) -> None:
        """Closes the file."""
        self._source.close()
        self._unpacking_problem()

    def _unpacking_problem(self) -> str:
        """Ends the unpacking, and says what was wrong with it until then; empty where nothing was."""
        unpacked, self._unpacked = self._unpacked, None
        return unpacked.close() if unpacked else ""


def _unread(link: int) -> str:
    """What is to be said of a link type; empty for one that is read."""
    return "" if link in LINKS else f"link type {link} is not one that d4-sensor reads"


def _fitting(length: int) -> int:
    """How many packets of this length, in bytes, fit into a batch."""
    return min(BATCH, BATCH_BYTES // max(1, length))


def _batch(data: bytes, meta: bytes, link: int) -> Batch:
    return Batch(data, np.frombuffer(meta, dtype=np.uint32).reshape(-1, 4), link)
