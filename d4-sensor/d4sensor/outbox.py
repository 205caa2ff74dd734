"""What the sensor has to send: taken in by the event loop, kept by the spool, read by the client.

Records gather while the spool commits those before them, so a commit has few where few come and thousands
where many do. All work on the disk is done by one thread: a disk that blocks never stops the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from typing import TypeVar
from uuid import UUID

from d4common.journal import SPOOL_BLOCKED, SPOOL_DROPPED, Repeats
from d4common.outbox import Numbered, up_to
from d4common.sender import pack_lines
from d4sensor.spool import Packed, Spool
from d4sensor.spoolfile import About, SpoolBlocked, SpoolDamaged, SpoolError

log = logging.getLogger(__name__)

T = TypeVar("T")
Pack = Callable[[Iterable[bytes], int], Iterator[Packed]]

MOST_IN_MEMORY = 16 << 20
"""Bytes of records that wait for the spool to take them; then the oldest go."""

ENOUGH_IN_MEMORY = 4 << 20
"""Bytes of records behind which a source that can wait waits for the spool."""

TAIL = 4 << 20
"""Bytes of the latest packets that are kept in memory, for a client that keeps up."""

GATHER = 0.005
"""Seconds from one commit to the next, at least: each costs a write to the disk, and a packet."""

RETRY = 1.0
"""Seconds between attempts to write to a disk that does not take it."""

TIDY = 60.0
"""Seconds after which the spool's bounds are looked after where nothing else is to be done."""


def packed_lines(lines: Iterable[bytes], snaplen: int) -> Iterator[Packed]:
    """Lines (each with its line feed) as packets of at most ``snaplen`` bytes, of the present time.

    The last one gets a line feed if it has none: a server acknowledges nothing behind the last line feed.
    """
    now, lines = int(time.time()), list(lines)
    if lines and not lines[-1].endswith(b"\n"):
        lines[-1] += b"\n"
    for payload in pack_lines(lines, snaplen):
        yield Packed(now, payload.count(b"\n"), payload)


def packed_chunks(chunks: Iterable[bytes], snaplen: int) -> Iterator[Packed]:
    """Chunks of a stream of bytes (pcap, say) as packets, one or more for each."""
    now = int(time.time())
    for chunk in chunks:
        for start in range(0, len(chunk), snaplen):
            yield Packed(now, int(start == 0), chunk[start : start + snaplen])


class SpoolOutbox:
    """An Outbox (d4common.outbox) of the packets in a spool.

    open() comes first, though records may be put before; close() is last. Where the spool turns out to be
    damaged meanwhile, whoever waits for it gets SpoolDamaged: the daemon then ends, and its next start mends
    the spool.
    """

    def __init__(self, open_spool: Callable[[], Spool], snaplen: int, pack: Pack = packed_lines) -> None:
        """``open_spool`` is d4sensor.salvage.open_spool with its arguments; ``pack`` makes packets of at
        most ``snaplen`` bytes of payload from records.
        """
        self.trouble = ""
        """Why nothing can be written at present; empty where all is well."""
        self._open_spool = open_spool
        self._snaplen = snaplen
        self._pack = pack
        self._thread = ThreadPoolExecutor(1, "spool")
        self._spool: Spool
        self._about = About("", 0, None)
        """What was in the spool after the last commit."""
        self._keeper: asyncio.Task[None] | None = None
        self._closing = False
        self._work = asyncio.Event()
        self._changed = asyncio.Event()
        self._records: deque[bytes] = deque()
        """What has come since the last commit began."""
        self._size = 0
        """Bytes of records that are not committed, also those that are just about to be."""
        self._position: str | None = None
        self._acknowledged = 0
        self._released = False
        self._discarded = 0
        """Records that never reached the disk."""
        self._told_dropped = 0
        self._tail: deque[Numbered] = deque()
        self._tail_size = 0
        self._repeats = Repeats()

    @property
    def id(self) -> UUID:
        """Of the spool."""
        return UUID(self._about.uuid)

    @property
    def first(self) -> int:
        """The number of the oldest packet that waits; ``next`` where none does."""
        return max(self._about.first, self._acknowledged + 1)

    @property
    def next(self) -> int:
        """The number that the next packet to come will get."""
        return self._about.next

    @property
    def known(self) -> int:
        """The last number that a server can have."""
        return self._about.known

    @property
    def advice(self) -> str:
        """What to do where a server has packets with higher numbers."""
        command = f"d4-sensor spool renew {self._spool.path}"
        return f"was the spool restored from a copy? Stop the sensor, run `{command}`, and start it again"

    @property
    def position(self) -> str | None:
        """Up to where the source is in the spool; None if that was never said."""
        return self._about.position

    @property
    def dropped(self) -> int:
        """Records that were given up, for want of room or for their age, since the spool was made."""
        return self._about.dropped_records + self._discarded

    def __len__(self) -> int:
        """Records that wait."""
        return self._about.records + len(self._records)

    async def open(self) -> None:
        """Opens the spool, which is mended if need be; tries until the disk lets it. Raises SpoolError."""
        while True:
            try:
                self._spool = await self._in_thread(self._open_spool)
                break
            except SpoolBlocked as error:
                self._complain(error)
                await asyncio.sleep(RETRY)
        self._recover()
        self._about = self._spool.about
        self._told_dropped = self._about.dropped_records
        self._keeper = asyncio.create_task(self._keep())
        self._keeper.add_done_callback(lambda keeper: self._wake())

    def put(self, record: bytes) -> None:
        """Adds a record, at once. Where there is no room the oldest that are not yet on disk go, counted."""
        self._records.append(record)
        self._size += len(record)
        if self._size > MOST_IN_MEMORY:
            self._discard()
        self._work.set()

    async def put_all(self, records: Iterable[bytes], position: str | None = None) -> None:
        """Adds records as soon as there is room for them without dropping any. Raises SpoolError.

        ``position`` is where their source is behind them; it is committed together with them.
        """
        records = tuple(records)
        size = sum(map(len, records))
        await self._until(lambda: self._has_room(size))
        self._records.extend(records)
        self._size += size
        self._position = position if position is not None else self._position
        self._work.set()

    async def release(self) -> None:
        """Returns when it is on disk that all that waits and comes may be sent. Raises SpoolError."""
        self._released = True
        self._work.set()
        await self._until(lambda: self._spool.released)

    async def read(self, number: int, most: int) -> list[Numbered]:
        """Packets from ``number`` on, or from the first behind it that still waits, in a row.

        ``most`` bytes of payload together, but at least one packet if there is any. Raises SpoolError.
        """
        self._refuse_failed()
        number = max(number, self.first)
        if self._tail and self._tail[0].number <= number:
            return up_to(most, islice(self._tail, number - self._tail[0].number, None))
        return await self._in_thread(self._spool.read, number, most)

    async def filled(self, number: int) -> None:
        """Returns when a packet waits that has this number or a later one. Raises SpoolError."""
        await self._until(lambda: max(number, self.first) < self.next)

    async def acknowledge(self, number: int) -> None:
        """The server has all up to this number. They leave the disk with what is written there next."""
        if number >= self.first:
            self._acknowledged = min(number, self.next - 1)
            self._forget()
            self._work.set()
            self._wake()

    async def committed(self) -> None:
        """Returns when all that was put is in the spool. Raises SpoolError."""
        await self._until(lambda: self._size == 0)

    async def empty(self) -> None:
        """Returns when the server has all that was put. Raises SpoolError."""
        await self._until(lambda: self._size == 0 and self.first == self.next)

    async def close(self) -> None:
        """Commits what was put, if the disk takes it now, and closes the spool."""
        self._closing = True
        self._work.set()
        if self._keeper is not None:
            try:
                await self._keeper
            except SpoolDamaged:
                with suppress(SpoolError):
                    await self._mend()
            await self._in_thread(self._spool.close)
        self._thread.shutdown(wait=False)
        if self._records:
            log.error(
                "%d events could not be written to disk before the stop and are lost", len(self._records)
            )
            self._records.clear()

    async def _keep(self) -> None:
        """Writes what there is to write, until close()."""
        loop = asyncio.get_running_loop()
        closing = False
        while not closing:
            with suppress(TimeoutError):
                async with asyncio.timeout(TIDY):
                    await self._work.wait()
            self._work.clear()
            closing = self._closing
            began = loop.time()
            pause = GATHER if await self._commit() else RETRY
            if not closing:
                await asyncio.sleep(began + pause - loop.time())

    async def _commit(self) -> bool:
        """Commits all that is there and takes out what was acknowledged; False where the disk refuses.

        Raises SpoolDamaged. What could not be committed stays.
        """
        records, self._records = self._records, deque()
        try:
            packets = await self._in_thread(self._write, records, self._position)
        except SpoolError as error:
            self._records.extendleft(reversed(records))
            if not isinstance(error, SpoolBlocked):
                raise
            self._complain(error)
            self._about = self._spool.about  # some may have been taken out
            self._tell_dropped()
            self._work.set()
            self._wake()
            return False
        self._about = self._spool.about
        self._size -= sum(map(len, records))
        self._remember(packets)
        self._recover()
        self._tell_dropped()
        self._wake()
        return True

    def _write(self, records: Iterable[bytes], position: str | None) -> list[Numbered]:
        """Runs in the spool's thread."""
        if self._released:
            self._spool.release()
        return self._spool.append(list(self._pack(records, self._snaplen)), position, self._acknowledged)

    async def _mend(self) -> None:
        """Opens the spool again, which mends it, and commits what is there to the new one."""
        await self._in_thread(self._spool.close)
        self._spool = await self._in_thread(self._open_spool)
        self._acknowledged = 0  # a number of the old one
        await self._commit()

    async def _in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while True:
            self._refuse_failed()
            if condition():
                return
            await self._changed.wait()

    def _wake(self) -> None:
        """Lets all that wait in _until() look again."""
        self._changed.set()
        self._changed.clear()

    def _refuse_failed(self) -> None:
        """Raises what ended the keeper, if anything did."""
        if self._keeper is not None and self._keeper.done() and (error := self._keeper.exception()):
            raise error

    def _has_room(self, size: int) -> bool:
        """Whether so many bytes of records find room, in memory and in the spool."""
        waiting = self._size + self._about.size
        in_memory = self._size == 0 or self._size + size <= ENOUGH_IN_MEMORY
        most = 0 if self._keeper is None else self._spool.most_bytes
        return in_memory and (waiting == 0 or waiting + size <= most)

    def _discard(self) -> None:
        while self._size > MOST_IN_MEMORY and self._records:
            self._size -= len(self._records.popleft())
            self._discarded += 1

    def _remember(self, packets: list[Numbered]) -> None:
        """Keeps the latest packets at hand, so that a client that keeps up needs none from the disk."""
        self._tail.extend(packets)
        self._tail_size += sum(len(packet.payload) for packet in packets)
        while self._tail_size > TAIL:
            self._tail_size -= len(self._tail.popleft().payload)
        self._forget()

    def _forget(self) -> None:
        """Drops from the tail what does not wait any more."""
        while self._tail and self._tail[0].number < self.first:
            self._tail_size -= len(self._tail.popleft().payload)

    def _complain(self, error: SpoolBlocked) -> None:
        """Says once why the disk does not take anything."""
        if str(error) != self.trouble:
            self.trouble = str(error)
            log.error(
                "%s; trying again every second, and keeping %d MiB of events in memory meanwhile",
                error,
                MOST_IN_MEMORY >> 20,
                extra={"MESSAGE_ID": SPOOL_BLOCKED},
            )

    def _recover(self) -> None:
        if self.trouble:
            self.trouble = ""
            log.warning("the spool can be written again", extra={"MESSAGE_ID": SPOOL_BLOCKED})

    def _tell_dropped(self) -> None:
        """Says, at most once a minute, how many records were given up since it was last said."""
        fresh = self.dropped - self._told_dropped
        if fresh and self._repeats.held_back(SPOOL_DROPPED) is not None:
            self._told_dropped += fresh
            log.error(
                "%d events, the oldest, were dropped: there is no room for them, or they were too old; "
                "%d since the spool was made",
                fresh,
                self.dropped,
                extra={"MESSAGE_ID": SPOOL_DROPPED},
            )
