"""All connections of sensors: accepted, served, closed with a reason when refused."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from uuid import UUID
from weakref import WeakValueDictionary

from redis.asyncio import Redis
from redis.exceptions import RedisError

from d4common import journal
from d4common.service import cancel
from d4common.session import ALPN_ACK, Reason, Refused, Rules
from d4server import door
from d4server.blacklist import Blacklist
from d4server.caps import Caps
from d4server.config import Limits
from d4server.connection import Connection
from d4server.door import Door
from d4server.gate import Gate, Place
from d4server.rates import Rate
from d4server.replays import Replays
from d4server.secured import Secured
from d4server.statistics import Statistics
from d4server.store import Store
from d4server.types import Types

log = logging.getLogger(__name__)

READ_BUFFER = 1 << 14
"""Bytes that have come on a connection and were not asked for, from which on it is not read."""

HANDSHAKE_TIMEOUT = 15.0
"""Seconds for the TLS handshake."""

KEYS_INTERVAL = 10.0
"""Seconds after which the keys of connected sensors are looked up again."""

BLACKLIST_INTERVAL = 2.0
"""Seconds after which the blacklist, and who was kicked, are looked up again."""

TYPES_INTERVAL = 2.0
"""Seconds after which it is looked up again which types are accepted."""

LOOK_INTERVAL = 1.0
"""Seconds between two looks at who is silent, and to whom an answer is due."""

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
        self.types = Types(rules)
        self.limits = Limits()
        self.shared_secret: bytes | None = None
        """What an unknown sensor may sign with, if anything."""
        self.context: ssl.SSLContext
        """TLS of connections to come, from listen() on. All of these are configured anew at a reload."""
        self.certificates = certificates
        self.refused: Counter[str] = Counter()
        """Connections closed, by reason."""
        self.statistics = Statistics()
        self.blacklist = Blacklist()
        self.caps = Caps()
        self.rates: WeakValueDictionary[UUID, Rate] = WeakValueDictionary()
        """How fast each sensor that is connected sends."""
        self.address_rates: WeakValueDictionary[str, Rate] = WeakValueDictionary()
        """How fast each address does."""
        self.replays = Replays()
        self.replayed = 0
        """Packets of plain D4 that were left out because they had come before."""
        self.clocks_off = 0
        """Packets of plain D4 whose time was off by too much; they are stored all the same."""
        self.held = 0
        """Bytes that connections hold of what has not come whole."""
        self._last: WeakValueDictionary[tuple[UUID, str], Connection] = WeakValueDictionary()
        """The last connection of each sensor and type."""
        self._gate = Gate(self.blacklist)
        self._others = dict(others or {})
        self._serving: set[asyncio.Task[None]] = set()
        self._open: dict[asyncio.Task[None], Connection] = {}
        self._parting: list[Connection] = []
        self._closing = False
        self._repeats = journal.Repeats()

    def __len__(self) -> int:
        """Connections of sensors that are open."""
        return len(self._open)

    def kinds(self) -> Counter[str]:
        """How many of them are plain, how many acknowledged."""
        return Counter(connection.kind for connection in self._open.values())

    def sensors(self) -> set[UUID]:
        """Those that are connected and have proved who they are."""
        receivers = (connection.receiver for connection in self._open.values())
        return {each.sensor for each in receivers if each.authentic and each.sensor is not None}

    @property
    def alpn(self) -> list[str]:
        """What clients may agree on with this server; with nothing of it they get plain D4."""
        return [ALPN_ACK, *self._others]

    async def listen(
        self, listening: socket.socket, context: ssl.SSLContext, at_once: int = door.AT_ONCE
    ) -> Door:
        """Accepts on a listening socket, with TLS, until that is closed; so many in a turn."""
        self.context = context
        opened = Door(listening, self._accept, at_once)
        opened.open()
        return opened

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

    async def check_blacklist(self) -> None:
        """Looks up again and again who is locked out, and closes their connections."""
        while True:
            with suppress(RedisError):
                if await self.blacklist.renew(self.redis):
                    for connection in self._open.values():
                        connection.check_blacklist()
            await asyncio.sleep(BLACKLIST_INTERVAL)

    async def check_types(self) -> None:
        """Looks up again and again which types are accepted, and closes connections of those refused now."""
        while True:
            with suppress(RedisError):
                if await self.types.renew(self.redis):
                    for connection in self._open.values():
                        connection.check_type()
            await asyncio.sleep(TYPES_INTERVAL)

    async def check_caps(self) -> None:
        """Looks up who has sent as much today as it may, and closes its connections. Raises RedisError."""
        await self.caps.renew(self.redis, self.sensors())
        for connection in self._open.values():
            connection.check_cap()

    def replace(self, sensor: UUID, type: str, connection: Connection) -> None:
        """Closes the connection that a sensor had for a type, in favour of the one that it has now.

        Not the other way round: the former may be half open, and would lock the sensor out. An acknowledged
        session sends again what the former one had not stored.
        """
        former = self._last.get((sensor, type))
        self._last[sensor, type] = connection
        if former is not None:
            former.refuse(Refused(Reason.REPLACED, f"it has another connection of type {type} by now"))

    def report_clock(self, connection: Connection, off: float) -> None:
        """Counts a packet whose time is ``off`` by these seconds, and logs one a minute of each sensor."""
        self.clocks_off += 1
        sensor = str(connection.receiver.sensor)
        if self._repeats.held_back(("clock", sensor)) is None:
            return
        log.warning(
            "sensor %s at %s: the time of its packets is off by %+.0f s",
            *(sensor, connection.address, off),
            extra={"MESSAGE_ID": journal.CLOCK, "D4_SENSOR": sensor, "D4_ADDRESS": connection.address},
        )

    async def stop_reading(self) -> None:
        """Ends all connections but for the answers to come; what came in whole packets is with the store."""
        self._closing = True
        await cancel(*self._serving)

    async def close(self) -> None:
        """Closes what stop_reading() has left open."""
        await asyncio.gather(*(connection.close() for connection in self._parting))

    def _accept(self, plain: socket.socket, address: str) -> None:
        """Begins a connection, or closes it before anything is done for it."""
        try:
            place = self._gate.enter(address, self.limits)
        except Refused as refusal:
            plain.close()
            self._report(refusal, address)
            return
        task = asyncio.create_task(self._serve(plain, address, place))
        place.end = task.cancel
        self._serving.add(task)

    async def _serve(self, plain: socket.socket, address: str, place: Place) -> None:
        """One connection, from its handshake to its end."""
        task = asyncio.current_task()
        assert task is not None
        try:
            reader, writer = await _shake_hands(self.context, plain)
            chosen = writer.get_extra_info("ssl_object").selected_alpn_protocol()
            if chosen in self._others:
                place.prove()  # whether it does so, and how many there may be, is their business
                await self._others[chosen](reader, writer)
            else:
                connection = Connection(self, reader, writer, address, place, acknowledged=chosen == ALPN_ACK)
                await self._serve_sensor(task, connection)
        except Refused as refusal:
            self._report(refusal, address)
        except (OSError, asyncio.CancelledError):
            pass  # the client went away, or the server is stopping
        finally:
            self._serving.discard(task)
            place.leave()

    async def _serve_sensor(self, task: asyncio.Task[None], connection: Connection) -> None:
        """Takes what a sensor sends, until one of the two ends it."""
        self._open[task] = connection
        try:
            await connection.receive()
        except Refused as refusal:
            self._report(refusal, connection.address, connection)
        except (OSError, asyncio.CancelledError):
            pass  # the sensor went away, or the server is stopping
        finally:
            del self._open[task]
            if self._closing and connection.session is not None:
                self._parting.append(connection)
            else:
                connection.abort()

    def _report(self, refusal: Refused, address: str, connection: Connection | None = None) -> None:
        """Counts a refusal, and logs it unless the same one was logged within the minute.

        Of strangers an address has one line for each reason, whatever UUIDs they name.
        """
        self.refused[refusal.reason] += 1
        named = connection.receiver.sensor if connection else None
        known = named if connection and connection.known else None
        self.statistics.refused(refusal.reason, address, known)
        before = self._repeats.held_back((refusal.reason, known, address))
        if before is None:
            return
        sensor = str(named or "unknown")
        more = f" ({before} more like this in the last minute)" if before else ""
        log.warning(
            "refused sensor %s at %s: %s%s",
            *(sensor, address, refusal, more),
            extra={
                "MESSAGE_ID": journal.REFUSED,
                "D4_SENSOR": sensor,
                "D4_ADDRESS": address,
                "D4_REASON": str(refusal.reason),
            },
        )


async def _shake_hands(
    context: ssl.SSLContext, plain: socket.socket
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """TLS on a connection that was accepted. Raises Refused, and OSError where the client went away."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=READ_BUFFER)
    protocol = asyncio.StreamReaderProtocol(reader)
    secured = Secured(context, protocol)
    await loop.connect_accepted_socket(lambda: secured, plain)
    try:
        await asyncio.wait_for(secured.shaken, HANDSHAKE_TIMEOUT)
    except ssl.SSLCertVerificationError as error:
        hint = "`d4-sensor renew --certificate` gets a sensor another"
        raise Refused(Reason.CERTIFICATE, f"its certificate: {error.verify_message}; {hint}") from None
    except ssl.SSLError as error:
        why = (error.reason or str(error)).lower().replace("_", " ")
        raise Refused(Reason.HANDSHAKE, f"the TLS handshake failed: {why}") from None
    except TimeoutError:
        secured.abort()
        raise Refused(Reason.HANDSHAKE, f"no TLS handshake in {HANDSHAKE_TIMEOUT:.0f} s") from None
    except BaseException:
        secured.abort()
        raise
    return reader, asyncio.StreamWriter(secured, protocol, reader, loop)
