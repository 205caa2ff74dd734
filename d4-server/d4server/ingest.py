"""Connections of sensors: read, check, hand over to the store; closed with a reason when refused."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError

from d4common import journal, records
from d4common.records import Entry
from d4common.service import cancel
from d4common.session import ALPN_ACK, Data, Hello, Reason, Receiver, Refused, Rules, Session
from d4server import client_certificates, sensors
from d4server.acknowledged import Acknowledged
from d4server.lines import CHUNKS, Lines
from d4server.store import Store

log = logging.getLogger(__name__)

READ_SIZE = 1 << 18
"""Bytes of one read, and with that what a connection holds beyond one packet."""

SILENCE = 30.0
"""Seconds in which a connection must have sent its first authentic packet, as in the reference server."""

SESSION_SILENCE = 60.0
"""Seconds after which an acknowledged session is closed from which nothing has come."""

HANDSHAKE_TIMEOUT = 15.0
"""Seconds for the TLS handshake."""

KEYS_INTERVAL = 10.0
"""Seconds after which the keys of connected sensors are looked up again."""

LOOK_INTERVAL = 1.0
"""Seconds between two looks at who is silent, and to whom an answer is due."""

MAX_UNREAD = 1 << 16
"""Bytes of answers that may wait for a sensor to read them; further ones are left out meanwhile."""

CLOSE_TIME = 1.0
"""Seconds that a stop waits for the last answers to go out."""

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Ingest:
    """All connections of one server process, and what it counts."""

    def __init__(
        self,
        redis: Redis,
        store: Store,
        rules: Rules,
        others: Mapping[str, Serve] | None = None,
        certificates: bool = False,
    ) -> None:
        """``others`` serve connections on which a protocol of theirs was agreed on (ALPN, RFC 7301).

        With ``certificates`` a sensor needs one of its own beside its key.
        """
        self.redis = redis
        self.store = store
        self.rules = rules
        """For connections to come; replaced at a reload."""
        self.certificates = certificates
        self.packets = 0
        """Packets of data accepted."""
        self.refused: Counter[str] = Counter()
        """Connections closed, by reason."""
        self._others = dict(others or {})
        self._serving: set[asyncio.Task[None]] = set()
        self._open: dict[asyncio.Task[None], Connection] = {}
        self._parting: list[Connection] = []
        self._closing = False
        self._repeats = journal.Repeats()

    def __len__(self) -> int:
        """Connections of sensors that are open."""
        return len(self._open)

    @property
    def alpn(self) -> list[str]:
        """What clients may agree on with this server; with nothing of it they get plain D4."""
        return [ALPN_ACK, *self._others]

    async def listen(self, listening: socket.socket, context: ssl.SSLContext) -> asyncio.Server:
        """Accepts on a listening socket, with TLS."""
        return await asyncio.start_server(
            self._serve,
            sock=listening,
            ssl=context,
            limit=READ_SIZE,
            ssl_handshake_timeout=HANDSHAKE_TIMEOUT,
        )

    async def keep_alive(self) -> None:
        """Answers sensors to which nothing was said for long, and ends sessions that are dead."""
        while True:
            await asyncio.sleep(LOOK_INTERVAL)
            for connection in self._open.values():
                connection.keep_alive()
            await cancel(*(task for task, connection in self._open.items() if connection.given_up()))

    async def check_keys(self) -> None:
        """Looks up again and again who may still be connected, and with which keys."""
        while True:
            await asyncio.sleep(KEYS_INTERVAL)
            with suppress(RedisError):
                for connection in tuple(self._open.values()):
                    await connection.look_up_again()

    async def stop_reading(self) -> None:
        """Ends all connections but for the answers to come; what came in whole packets is with the store.

        A connection whose TLS handshake is still under way ends as soon as that is done.
        """
        self._closing = True
        await cancel(*self._serving)

    async def close(self) -> None:
        """Closes what stop_reading() has left open."""
        await asyncio.gather(*(connection.close() for connection in self._parting))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._closing:
            writer.transport.abort()
            return
        chosen = writer.get_extra_info("ssl_object").selected_alpn_protocol()
        self._serving.add(task)
        try:
            if chosen in self._others:
                await self._others[chosen](reader, writer)
            else:
                await self._serve_sensor(task, reader, writer, acknowledged=chosen == ALPN_ACK)
        finally:
            self._serving.discard(task)

    async def _serve_sensor(
        self,
        task: asyncio.Task[None],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        acknowledged: bool,
    ) -> None:
        """Takes what a sensor sends, until one of the two ends it."""
        connection = Connection(self, reader, writer, acknowledged)
        self._open[task] = connection
        try:
            await connection.receive()
        except Refused as refusal:
            self._report(refusal, connection, writer)
        except (OSError, asyncio.CancelledError):
            pass  # the sensor went away, or the server is stopping
        finally:
            del self._open[task]
            if self._closing and connection.session is not None:
                self._parting.append(connection)
            else:
                connection.abort()

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

    def __init__(
        self, ingest: Ingest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, acknowledged: bool
    ) -> None:
        self.receiver = Receiver(ingest.rules, acknowledged)
        self.session: Acknowledged | None = None
        """The acknowledged session, if it is one and has begun."""
        self._ingest = ingest
        self._reader = reader
        self._writer = writer
        self._acknowledged = acknowledged
        self._began = asyncio.get_running_loop().time()
        self._reading_since: float | None = None
        self._lines = Lines()
        self._last: Data | None = None

    async def receive(self) -> None:
        """Reads until the sensor closes. Raises Refused, and OSError when the connection breaks."""
        while data := await self._read():
            self.receiver.receive_data(data)
            await self._take_events()
            await self._ingest.store.room()

    def keep_alive(self) -> None:
        """Answers if it is time to, and refuses a session that has fallen silent."""
        if self.session is None:
            return
        self.session.keep_alive()
        since = self._reading_since
        if since is not None and asyncio.get_running_loop().time() - since >= SESSION_SILENCE:
            self._refuse(Refused(Reason.SILENT, f"nothing came for {SESSION_SILENCE:.0f} s"))

    def given_up(self) -> bool:
        """Whether Redis has kept a client waiting for so long that it has another connection by now.

        It sends there what it has sent here. In plain D4 what has come is worth to be kept.
        """
        waiting = asyncio.get_running_loop().time() - self._began
        return self._acknowledged and self.session is None and waiting > SILENCE + LOOK_INTERVAL

    async def look_up_again(self) -> None:
        """Takes over the keys that the sensor has now, and refuses it if it has none any more."""
        sensor = self.receiver.sensor
        if sensor is None:
            return
        keys = await sensors.keys_of(self._ingest.redis, sensor)
        if keys:
            self.receiver.authenticate(*keys)
        else:
            self._refuse(_unknown(sensor))

    async def close(self) -> None:
        """Ends the connection when what was answered is on its way."""
        self._finish()
        self._writer.close()
        try:
            await asyncio.wait_for(self._writer.wait_closed(), CLOSE_TIME)
        except TimeoutError:
            self._writer.transport.abort()
        except OSError:
            pass  # the sensor went away

    def abort(self) -> None:
        """Ends the connection at once."""
        self._finish()
        self._writer.transport.abort()

    def _finish(self) -> None:
        """Hands over the last line although nothing ended it; in a session the sensor sends it again."""
        if self.session is not None:
            self.session.finish()
        elif self._last is not None:
            self._put(self._last, self._lines.finish())

    async def _read(self) -> bytes:
        """The next bytes; only a sensor that has proved itself may be silent for longer than SILENCE."""
        loop = asyncio.get_running_loop()
        if self.receiver.authentic:
            self._reading_since = loop.time()
            data = await self._reader.read(READ_SIZE)
            self._reading_since = None
            return data
        try:
            # Not asyncio.timeout(): it takes the cancellations that redis-py leaves behind for somebody's.
            return await asyncio.wait_for(self._reader.read(READ_SIZE), self._began + SILENCE - loop.time())
        except TimeoutError:
            raise Refused(Reason.SILENT, f"no authentic packet in {SILENCE:.0f} s") from None

    def _refuse(self, refusal: Refused) -> None:
        """Has the next read, or the one that is under way, raise this."""
        self._reader.set_exception(refusal)

    async def _take_events(self) -> None:
        """Hands over what the receiver has so far."""
        while (event := self.receiver.next_event()) is not None:
            if isinstance(event, Data):
                self._take_data(event)
            elif isinstance(event, Hello):
                await self._authenticate(event)
            elif isinstance(event, Session):
                self._take_session(event)

    async def _authenticate(self, hello: Hello) -> None:
        """Looks up the keys of the sensor that the first packet names, and looks at its certificate."""
        if self._ingest.certificates and not client_certificates.names(self._certificate(), hello.sensor):
            hint = "`d4-sensor renew --certificate` gets it one"
            raise Refused(Reason.CERTIFICATE, f"no certificate of this sensor was shown; {hint}")
        lookup = partial(sensors.keys_of, self._ingest.redis, hello.sensor)
        keys = await records.patiently("answer", lookup)
        if not keys:
            raise _unknown(hello.sensor)
        self.receiver.authenticate(*keys)

    def _certificate(self) -> Mapping[str, Any] | None:
        """What the peer has shown, and TLS has verified."""
        tls: ssl.SSLObject = self._writer.get_extra_info("ssl_object")
        return tls.getpeercert()

    def _take_session(self, session: Session) -> None:
        """Begins the session, or answers it once more."""
        if self.session is None:
            self.session = Acknowledged(self.receiver, session, self._ingest.store, self._send)
        else:
            self.session.answer()

    def _take_data(self, data: Data) -> None:
        self._ingest.packets += 1
        if self.session is not None:
            self.session.take(data)
            return
        self._last = data
        self._put(data, data.payload if data.type in CHUNKS else self._lines.receive(data.payload))

    def _put(self, data: Data, whole: bytes) -> None:
        sensor = self.receiver.sensor
        if whole and sensor is not None:
            self._ingest.store.put(Entry(sensor, data.type, data.timestamp, whole))

    def _send(self, answer: bytes) -> None:
        """Sends an answer, unless many wait to be read: a later one will say as much."""
        transport = self._writer.transport
        if not transport.is_closing() and transport.get_write_buffer_size() < MAX_UNREAD:
            transport.write(answer)


def _unknown(sensor: UUID) -> Refused:
    hint = f"`d4-server sensors list` shows which, `d4-server sensors add {sensor}` lets it in"
    return Refused(Reason.UNKNOWN_SENSOR, f"not a known sensor, or a revoked one; {hint}")


def _address(writer: asyncio.StreamWriter) -> str:
    """The peer's address; an IPv4 address as such although it came through an IPv6 socket."""
    peer = writer.get_extra_info("peername")
    return str(peer[0]).removeprefix("::ffff:") if peer else "unknown"
