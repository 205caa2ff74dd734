"""Connections of sensors: read, check, hand over to the store; closed with a reason when refused."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections import Counter
from functools import partial

from redis.asyncio import Redis

from d4common import journal, records
from d4common.records import Entry
from d4common.service import cancel
from d4common.session import Data, Hello, Reason, Receiver, Refused, Rules
from d4server import sensors
from d4server.lines import Lines
from d4server.store import Store

log = logging.getLogger(__name__)

READ_SIZE = 1 << 18
"""Bytes of one read, and with that what a connection holds beyond one packet."""

SILENCE = 30.0
"""Seconds in which a connection must have sent its first authentic packet, as in the reference server."""

HANDSHAKE_TIMEOUT = 15.0
"""Seconds for the TLS handshake."""

CHUNKS = frozenset({"1", "4", "5", "7"})
"""Types that are a stream of bytes (pcap, dnscap, pcapng, YAF), stored as they come; the rest are lines."""


class Ingest:
    """All connections of one server process, and what it counts."""

    def __init__(self, redis: Redis, store: Store, rules: Rules) -> None:
        self.redis = redis
        self.store = store
        self.rules = rules
        """For connections to come; replaced at a reload."""
        self.packets = 0
        """Packets of data accepted."""
        self.refused: Counter[str] = Counter()
        """Connections closed, by reason."""
        self._open: set[asyncio.Task[None]] = set()
        self._closing = False
        self._repeats = journal.Repeats()

    def __len__(self) -> int:
        """Connections that are open."""
        return len(self._open)

    async def listen(self, listening: socket.socket, context: ssl.SSLContext) -> asyncio.Server:
        """Accepts on a listening socket, with TLS."""
        return await asyncio.start_server(
            self._serve,
            sock=listening,
            ssl=context,
            limit=READ_SIZE,
            ssl_handshake_timeout=HANDSHAKE_TIMEOUT,
        )

    async def close(self) -> None:
        """Ends all connections; what came in whole packets is with the store.

        A connection whose TLS handshake is still under way ends as soon as that is done.
        """
        self._closing = True
        await cancel(*self._open)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._closing:
            writer.transport.abort()
            return
        self._open.add(task)
        connection = Connection(self)
        try:
            await connection.receive(reader)
        except Refused as refusal:
            self._report(refusal, connection, writer)
        except (OSError, asyncio.CancelledError):
            pass  # the sensor went away, or the server is stopping
        finally:
            connection.finish()
            self._open.discard(task)
            writer.transport.abort()

    def _report(self, refusal: Refused, connection: Connection, writer: asyncio.StreamWriter) -> None:
        """Counts a refusal, and logs it unless the same one was logged within the minute."""
        self.refused[refusal.reason] += 1
        address = _address(writer)
        sensor = str(connection.receiver.sensor or "unknown")
        before = self._repeats.held_back((refusal.reason, sensor, address))
        if before is None:
            return
        more = f" ({before} more like this in the last minute)" if before else ""
        log.warning(
            "refused sensor %s at %s: %s%s",
            sensor,
            address,
            refusal,
            more,
            extra={
                "MESSAGE_ID": journal.REFUSED,
                "D4_SENSOR": sensor,
                "D4_ADDRESS": address,
                "D4_REASON": str(refusal.reason),
            },
        )


class Connection:
    """One connection of one sensor."""

    def __init__(self, ingest: Ingest) -> None:
        self.receiver = Receiver(ingest.rules)
        self._ingest = ingest
        self._lines = Lines()
        self._last: Data | None = None

    async def receive(self, reader: asyncio.StreamReader) -> None:
        """Reads until the sensor closes. Raises Refused, and OSError when the connection breaks."""
        deadline = asyncio.get_running_loop().time() + SILENCE
        while data := await self._read(reader, deadline):
            self.receiver.receive_data(data)
            await self._take_events()
            await self._ingest.store.room()

    def finish(self) -> None:
        """Hands over the last line although nothing ended it."""
        if self._last is not None:
            self._put(self._last, self._lines.finish())

    async def _read(self, reader: asyncio.StreamReader, deadline: float) -> bytes:
        """The next bytes; only a sensor that has proved itself may be silent beyond the deadline."""
        if self.receiver.authentic:
            return await reader.read(READ_SIZE)
        left = deadline - asyncio.get_running_loop().time()
        try:
            # Not asyncio.timeout(): it takes the cancellations that redis-py leaves behind for somebody's.
            return await asyncio.wait_for(reader.read(READ_SIZE), left)
        except TimeoutError:
            raise Refused(Reason.SILENT, f"no authentic packet in {SILENCE:.0f} s") from None

    async def _take_events(self) -> None:
        """Hands over what the receiver has so far."""
        while (event := self.receiver.next_event()) is not None:
            if isinstance(event, Hello):
                await self._authenticate(event)
            elif isinstance(event, Data):
                self._take_data(event)

    async def _authenticate(self, hello: Hello) -> None:
        """Looks up the key of the sensor that the first packet names."""
        lookup = partial(sensors.key_of, self._ingest.redis, hello.sensor)
        key = await records.patiently("answer", lookup)
        if key is None:
            raise Refused(
                Reason.UNKNOWN_SENSOR,
                f"not a known sensor; `d4-server sensors add {hello.sensor}` lets it in",
            )
        self.receiver.authenticate(key)

    def _take_data(self, data: Data) -> None:
        self._ingest.packets += 1
        self._last = data
        self._put(data, data.payload if data.type in CHUNKS else self._lines.receive(data.payload))

    def _put(self, data: Data, whole: bytes) -> None:
        sensor = self.receiver.sensor
        if whole and sensor is not None:
            self._ingest.store.put(Entry(sensor, data.type, data.timestamp, whole))


def _address(writer: asyncio.StreamWriter) -> str:
    """The peer's address; an IPv4 address as such although it came through an IPv6 socket."""
    peer = writer.get_extra_info("peername")
    return str(peer[0]).removeprefix("::ffff:") if peer else "unknown"
