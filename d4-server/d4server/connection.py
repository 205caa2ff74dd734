"""One connection of one sensor: what it sends is read, checked, and handed over to the store."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from d4common import redis_client
from d4common.records import Entry
from d4common.session import Data, Hello, MetaHeader, Reason, Receiver, Refused, Session
from d4server import client_certificates, sensors
from d4server.acknowledged import Acknowledged
from d4server.gate import Place
from d4server.lines import Lines
from d4server.rates import Rate

if TYPE_CHECKING:
    from d4server.ingest import Ingest

READ_SIZE = 1 << 18
"""Bytes of one read, and with that what a connection holds beyond one packet."""

MOST_TOGETHER = 1 << 14
"""Bytes of payloads of several packets that make one entry: those of lines that come at once, of one second.

What is done for an entry is then done once for many small packets, and they can be compressed together.
"""

SILENCE = 30.0
"""Seconds in which a connection must have sent its first authentic packet, as in the reference server."""

GRACE = 1.0
"""Seconds more for a client that waits for Redis."""

SESSION_SILENCE = 60.0
"""Seconds after which an acknowledged session is closed from which nothing has come."""

MAX_UNREAD = 1 << 16
"""Bytes of answers that may wait for a sensor to read them; further ones are left out meanwhile."""

CLOSE_TIME = 1.0
"""Seconds that a stop waits for the last answers to go out."""


class Connection:
    """One connection of one sensor."""

    def __init__(
        self,
        ingest: Ingest,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        address: str,
        place: Place,
        acknowledged: bool,
    ) -> None:
        rules = ingest.types.rules
        self.receiver = Receiver(rules, acknowledged)
        self._chunks = rules.chunks
        self.session: Acknowledged | None = None
        """The acknowledged session, if it is one and has begun."""
        self.known = False
        """Whether there is a key for the sensor that it names, which it may not have proved to have."""
        self._ingest = ingest
        self._reader = reader
        self._writer = writer
        self.address = address
        self._place = place
        self._proved = False
        self._rate: Rate | None = None
        """The sensor's, once it has proved itself."""
        self._address_rate = ingest.address_rates.setdefault(place.origin, Rate())
        self._held = 0
        self._acknowledged = acknowledged
        self._began = asyncio.get_running_loop().time()
        self._reading_since: float | None = None
        self._lines = Lines()
        self._together: list[Data] = []
        self._together_size = 0
        """Packets that make one entry, and bytes of their payloads."""
        self._type: str | None = None
        """What data it brings, once that is said."""
        self._last: tuple[str, int] | None = None
        """Type and time of the last packet of data."""

    @property
    def kind(self) -> str:
        """What was agreed on: plain D4, or an acknowledged session."""
        return "acknowledged" if self._acknowledged else "plain"

    async def receive(self) -> None:
        """Reads until the sensor closes. Raises Refused, and OSError when the connection breaks."""
        while data := await self._read():
            self.receiver.receive_data(data)
            size = len(data)
            del data  # or an idle connection would hold it until it reads again
            await self._take_events()
            self._hand_over()
            self._hold()
            await self._slow_down(size)
            await self._ingest.store.room()

    def keep_alive(self) -> None:
        """Answers if it is time to, and refuses a session that has fallen silent."""
        if self.session is None:
            return
        self.session.keep_alive()
        since = self._reading_since
        if since is not None and asyncio.get_running_loop().time() - since >= SESSION_SILENCE:
            self.refuse(Refused(Reason.SILENT, f"nothing came for {SESSION_SILENCE:.0f} s"))

    def given_up(self) -> bool:
        """Whether Redis has kept a client waiting for so long that it has another connection by now.

        It sends there what it has sent here. In plain D4 what has come is worth to be kept.
        """
        waiting = asyncio.get_running_loop().time() - self._began
        return self._acknowledged and self.session is None and waiting > SILENCE + GRACE

    async def look_up_again(self) -> None:
        """Takes over the keys that the sensor has now, and refuses it if it has none any more."""
        sensor = self.receiver.sensor
        if sensor is None or not self._proved:
            return
        keys = await sensors.keys_of(self._ingest.redis, sensor)
        if keys:
            self.receiver.authenticate(*keys)
        else:
            self.refuse(unknown(sensor))

    def refuse(self, refusal: Refused) -> None:
        """Has the next read, or the one that is under way, raise this."""
        self._reader.set_exception(refusal)

    def check_blacklist(self) -> None:
        """Refuses the sensor if it is locked out by now."""
        sensor = self.receiver.sensor
        if sensor is not None:
            self._refuse_by(partial(self._ingest.blacklist.check, self.address, sensor))

    def check_type(self) -> None:
        """Refuses the connection if what it brings is not accepted any more."""
        if self._type is not None:
            self._refuse_by(partial(self._ingest.types.check, self._type))

    def check_cap(self) -> None:
        """Refuses the sensor if it has sent as much today as it may."""
        if self._proved and self.receiver.sensor is not None:
            self._refuse_by(partial(self._ingest.caps.check, self.receiver.sensor))

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

    def _refuse_by(self, check: Callable[[], None]) -> None:
        """Refuses where a check does."""
        try:
            check()
        except Refused as refusal:
            self.refuse(refusal)

    def _finish(self) -> None:
        """Hands over the last line although nothing ended it; in a session the sensor sends it again."""
        self._hand_over()
        self._release()
        if self.session is not None:
            self.session.finish()
        elif self._last is not None:
            self._put(*self._last, self._lines.finish())

    async def _read(self) -> bytes:
        """The next bytes; only a sensor that has proved itself may be silent for longer than SILENCE."""
        loop, limits = asyncio.get_running_loop(), self._ingest.limits
        size = min(READ_SIZE, limits.sensor_rate or READ_SIZE, limits.address_bytes or READ_SIZE)
        if self.receiver.authentic:
            self._reading_since = loop.time()
            data = await self._reader.read(size)
            self._reading_since = None
            return data
        try:
            # Not asyncio.timeout(): it takes the cancellations that redis-py leaves behind for somebody's.
            return await asyncio.wait_for(self._reader.read(size), self._began + SILENCE - loop.time())
        except TimeoutError:
            raise Refused(Reason.SILENT, f"no authentic packet in {SILENCE:.0f} s") from None

    async def _take_events(self) -> None:
        """Hands over what the receiver has so far."""
        while (event := self.receiver.next_event()) is not None:
            if self.receiver.authentic and not self._proved:
                await self._welcome(self.receiver.sensor)
            if isinstance(event, Data):
                self._take_data(event)
            elif isinstance(event, Hello):
                await self._authenticate(event)
            elif isinstance(event, Session):
                self._take_session(event)
            elif isinstance(event, MetaHeader):
                self._begin(event.type)

    async def _authenticate(self, hello: Hello) -> None:
        """Looks up the keys of the sensor that the first packet names, and looks at its certificate."""
        self._ingest.blacklist.check(self.address, hello.sensor)
        if self._ingest.certificates and not client_certificates.names(self._certificate(), hello.sensor):
            hint = "`d4-sensor renew --certificate` gets it one"
            raise Refused(Reason.CERTIFICATE, f"no certificate of this sensor was shown; {hint}")
        keys = await redis_client.patiently(
            "answer", partial(sensors.keys_of, self._ingest.redis, hello.sensor)
        )
        self.known = bool(keys)
        if not keys and self._ingest.shared_secret:
            keys = (self._ingest.shared_secret,)
        if not keys:
            raise unknown(hello.sensor)
        self.receiver.authenticate(*keys)

    async def _welcome(self, sensor: UUID | None) -> None:
        """The sensor has proved that it has its key."""
        assert sensor is not None and self.receiver.key is not None
        self._proved = True
        self._place.prove()
        self._rate = self._ingest.rates.setdefault(sensor, Rate())
        if not self.known:
            register = partial(sensors.register, self._ingest.redis, sensor, self.receiver.key)
            if not await redis_client.patiently("register a sensor", register):
                raise unknown(sensor)
            self.known = True
        self._ingest.caps.check(sensor)

    def _certificate(self) -> Mapping[str, Any] | None:
        """What the peer has shown, and TLS has verified."""
        tls: ssl.SSLObject = self._writer.get_extra_info("ssl_object")
        return tls.getpeercert()

    def _take_session(self, session: Session) -> None:
        """Begins the session, or answers it once more."""
        assert self.receiver.sensor is not None
        self._ingest.statistics.heard(self.receiver.sensor, self.address)
        if self.session is None:
            self.session = Acknowledged(self.receiver, session, self._ingest.store, self._send)
        else:
            self.session.answer()

    def _take_data(self, data: Data) -> None:
        assert self.receiver.sensor is not None
        if self._last is None:
            self._begin(data.type)
            if self._ingest.limits.one_connection:
                self._ingest.replace(self.receiver.sensor, data.type, self)
        self._last = data.type, data.timestamp
        if self.session is None and self._replayed():
            return
        if not self._goes_together(data):
            self._hand_over()
        self._together.append(data)
        self._together_size += len(data.payload)

    def _goes_together(self, data: Data) -> bool:
        """Whether a packet can be in one entry with those before it; of chunks, each has its own."""
        before = self._together[-1] if self._together else None
        return (
            before is not None
            and (data.type, data.timestamp) == (before.type, before.timestamp)
            and data.type not in self._chunks
            and self._together_size + len(data.payload) <= MOST_TOGETHER
        )

    def _hand_over(self) -> None:
        """Gives the store what has come together."""
        together, self._together, self._together_size = self._together, [], 0
        if not together:
            return
        assert self.receiver.sensor is not None
        first, payloads = together[0], [each.payload for each in together]
        chunk, data = first.type in self._chunks, b"".join(payloads)
        statistics = self._ingest.statistics
        statistics.data(self.receiver.sensor, self.address, first.type, len(payloads), data, chunk)
        if self.session is not None:
            self.session.take(first, payloads, chunk)
            return
        self._check_clock(first.timestamp)
        self._put(first.type, first.timestamp, data if chunk else self._lines.receive(data))

    def _begin(self, type: str) -> None:
        """It is known what data will come. Raises Refused where it was refused since the connection began."""
        self._ingest.types.check(type)
        self._type = type

    def _replayed(self) -> bool:
        """Whether the packet that came is to be dropped, because it has come before."""
        window = self._ingest.limits.replay_window
        again = bool(window) and self._ingest.replays.came(self.receiver.hmac, window)
        self._ingest.replayed += again
        return again

    def _check_clock(self, timestamp: int) -> None:
        """Says so where the sensor's clock, or what it sends, is off by too much."""
        off, most = timestamp - time.time(), self._ingest.limits.clock_tolerance
        if most and abs(off) > most:
            self._ingest.report_clock(self, off)

    def _hold(self) -> None:
        """Accounts for what is held. Raises Refused where all hold too much, and this connection its share.

        Connections that have proved nothing have half of the memory between them.
        """
        waiting = self.session.waiting if self.session else len(self._lines)
        self._release()
        self._held = self.receiver.buffered + waiting
        self._ingest.held += self._held
        most = self._ingest.limits.memory // (1 if self._proved else 2)
        if self._ingest.held > most and self._held > most // len(self._ingest):
            raise Refused(Reason.MEMORY, f"packets that have not come whole take {self._ingest.held} bytes")

    def _release(self) -> None:
        self._ingest.held -= self._held
        self._held = 0

    async def _slow_down(self, size: int) -> None:
        """Waits while the sensor, or its address, is too fast; the rest waits in the kernels, and with it."""
        wait = self._address_rate.take(size, self._ingest.limits.address_bytes)
        if self._rate is not None:
            wait = max(wait, self._rate.take(size, self._ingest.limits.sensor_rate))
        if wait:
            await asyncio.sleep(wait)

    def _put(self, type: str, timestamp: int, whole: bytes) -> None:
        sensor = self.receiver.sensor
        if whole and sensor is not None:
            self._ingest.store.put(Entry(sensor, type, timestamp, whole))

    def _send(self, answer: bytes) -> None:
        """Sends an answer, unless many wait to be read: a later one will say as much."""
        transport = self._writer.transport
        if not transport.is_closing() and transport.get_write_buffer_size() < MAX_UNREAD:
            transport.write(answer)


def unknown(sensor: UUID) -> Refused:
    """No sensor of this UUID may connect."""
    hint = f"`d4-server sensors list` shows which, `d4-server sensors add {sensor}` lets it in"
    return Refused(Reason.UNKNOWN_SENSOR, f"not a known sensor, or a revoked one; {hint}")
