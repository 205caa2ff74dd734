"""Connections of sensors that want a key (docs/protocol.md, section 3), bounded in all they can cost."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError

from d4common import enrolling, journal, redis_client
from d4common.enrolling import Approved, Done, Enroll, Greeting, Lines, Pending, ProtocolError, Renew
from d4common.origins import origin_of
from d4server import admission, client_certificates, sensors
from d4server.admission import Admitted, Waiting
from d4server.client_certificates import BadRequest
from d4server.config import D4

log = logging.getLogger(__name__)

MOST_CONNECTIONS = 100
MOST_FROM_ORIGIN = 10
"""Connections that are open at once."""

REQUEST_TIME = 60.0
"""Seconds that a client has to ask, and then to say that it is done."""

PENDING_TIME = 600.0
"""Seconds for which a client may wait for approval on one connection; then it asks again on another."""

LOOK_INTERVAL = 1.0
"""Seconds between two looks whether a sensor was approved."""

CLOSE_TIME = 1.0
"""Seconds that a client has to take in the last line."""

READ_SIZE = 1 << 14


class Enrolment:
    """All enrolment connections of one server process."""

    def __init__(self, redis: Redis, settings: D4, replicas: int = 0) -> None:
        """No key is given out that not so many replicas of Redis have."""
        self._replicas = replicas
        self.settings = settings
        """For connections to come; replaced at a reload."""
        self._redis = redis
        self._open: Counter[str] = Counter()
        self._repeats = journal.Repeats()

    def __len__(self) -> int:
        """Connections that are open."""
        return self._open.total()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from the end of its handshake until it is closed."""
        peer = writer.get_extra_info("peername")
        if peer is None:
            writer.transport.abort()  # it went away
            return
        address = str(peer[0]).removeprefix("::ffff:")
        origin = origin_of(address)
        talk = _Talk(reader, writer, address)
        try:
            await self._serve(talk, origin)
            await talk.close()
        except (OSError, asyncio.CancelledError):
            pass  # the client went away, or the server is stopping
        finally:
            writer.transport.abort()

    async def _serve(self, talk: _Talk, origin: str) -> None:
        """Answers, or says why not."""
        try:
            with self._place(origin):
                await self._answer(talk)
        except (ProtocolError, BadRequest, sensors.Refused) as error:
            talk.say(enrolling.Refused(str(error)))
            self._report(talk, type(error).__name__, f"refused to enrol a sensor: {error}")
        except RedisError as error:
            why = redis_client.explain(error)
            self._report(talk, "redis", f"cannot enrol a sensor, Redis does not work: {why}")

    @contextmanager
    def _place(self, origin: str) -> Iterator[None]:
        """Takes one of the places that there are for connections. Raises sensors.Refused if there is none."""
        if self._open.total() >= MOST_CONNECTIONS or self._open[origin] >= MOST_FROM_ORIGIN:
            raise sensors.Refused("too many sensors enrol at the moment; try again in a minute")
        self._open[origin] += 1
        try:
            yield
        finally:
            self._open[origin] -= 1
            if not self._open[origin]:
                del self._open[origin]

    async def _answer(self, talk: _Talk) -> None:
        """The dialogue. Raises ProtocolError, BadRequest, sensors.Refused, RedisError, OSError."""
        nonce = enrolling.random()
        talk.say(Greeting(nonce))
        request = enrolling.request(await talk.hear(REQUEST_TIME))
        if isinstance(request, Done):
            raise ProtocolError("it was done before it had asked")
        gift = _Gift(self.settings, request.uuid, request.csr)
        if isinstance(request, Enroll):
            key = await self._admit(talk, request)
        else:
            key = await self._renew(talk, request, nonce)
        await sensors.replicated(self._redis, self._replicas)
        talk.say(gift.with_key(key))
        if not isinstance(enrolling.request(await talk.hear(REQUEST_TIME)), Done):
            raise ProtocolError("it did not say that it is done")
        await sensors.settle(self._redis, request.uuid)

    async def _admit(self, talk: _Talk, request: Enroll) -> bytes:
        """The key of a sensor that is let in, which may take an administrator some time."""
        outcome = await admission.enroll(self._redis, request, talk.address)
        if isinstance(outcome, Waiting):
            code = enrolling.code(enrolling.digest(request.claim))
            talk.say(Pending(code))
            if outcome.new:
                hint = f"`d4-server sensors approve {request.uuid}` lets it in"
                _log(talk, request.uuid, f"{request.name} wants to be let in, with code {code}; {hint}")
            outcome = await self._approval(talk, request)
        _log(talk, request.uuid, f"{request.name} is let in")
        return outcome.key

    async def _approval(self, talk: _Talk, request: Enroll) -> Admitted:
        """Waits until an administrator has approved. Raises OSError where the client did not wait so long."""
        deadline = asyncio.get_running_loop().time() + PENDING_TIME
        while asyncio.get_running_loop().time() < deadline:
            await talk.wait(LOOK_INTERVAL)
            admitted = await admission.look(self._redis, request)
            if admitted is not None:
                return admitted
        raise ConnectionAbortedError("it waited too long")

    async def _renew(self, talk: _Talk, request: Renew, nonce: str) -> bytes:
        """Another key for a sensor that proves to have one."""
        keys = await sensors.keys_of(self._redis, request.uuid)
        proved = [key for key in keys if enrolling.proves(request.proof, key, nonce)]
        if not proved:
            hint = f"`d4-server sensors list` shows whether {request.uuid} is approved"
            raise sensors.Refused(f"no sensor of this UUID has this key; {hint}")
        key = await sensors.renew(self._redis, request.uuid, proved[0])
        _log(talk, request.uuid, "has another key; the former is valid for a day")
        return key

    def _report(self, talk: _Talk, kind: str, message: str) -> None:
        """Logs what went wrong; one line of a kind a minute, so that strangers cannot fill the log."""
        before = self._repeats.held_back(kind)
        if before is None:
            return
        more = f" ({before} more like this in the last minute)" if before else ""
        fields = {"MESSAGE_ID": journal.REFUSED, "D4_ADDRESS": talk.address, "D4_REASON": "enrolment"}
        log.warning("%s: %s%s", talk.address, message, more, extra=fields)


class _Gift:
    """What a sensor is given beside its key, made sure of before anything is changed for it."""

    def __init__(self, settings: D4, sensor: UUID, csr: str | None) -> None:
        self._ca = _read(settings.ca)
        self._settings = settings
        self._sensor = sensor
        self._public_key = None if csr is None else client_certificates.public_key(csr)

    def with_key(self, key: bytes) -> Approved:
        """The whole answer."""
        return Approved(key.decode(), self._ca, self._certificate())

    def _certificate(self) -> str | None:
        """The certificate that was asked for, if this server gives any."""
        if self._public_key is None:
            return None
        ca, ca_key = self._settings.client_ca, self._settings.client_ca_key_file()
        try:
            return client_certificates.sign(self._sensor, self._public_key, ca, ca_key)
        except (OSError, ValueError) as error:
            log.error("no certificate for sensor %s: %s", self._sensor, error)
            return None


class _Talk:
    """Lines to and from one client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str) -> None:
        self.address = address
        self._reader = reader
        self._writer = writer
        self._lines = Lines()

    def say(self, message: Greeting | enrolling.Answer) -> None:
        """Sends a line. What may be waiting to be sent is bounded by what one connection is ever told."""
        self._writer.write(enrolling.encode(message))

    async def hear(self, most: float) -> bytes:
        """The next line. Raises ProtocolError, and OSError where the client leaves, or is silent too long."""
        deadline = asyncio.get_running_loop().time() + most
        while (line := self._lines.next()) is None:
            left = deadline - asyncio.get_running_loop().time()
            # Not asyncio.timeout(): it takes the cancellations that redis-py leaves behind for somebody's.
            data = await asyncio.wait_for(self._reader.read(READ_SIZE), left)
            if not data:
                raise ConnectionResetError("it closed the connection")
            self._lines.receive(data)
        return line

    async def wait(self, most: float) -> None:
        """Waits, and raises OSError if the client leaves meanwhile, ProtocolError if it says anything."""
        try:
            data = await asyncio.wait_for(self._reader.read(READ_SIZE), most)
        except TimeoutError:
            return
        if not data:
            raise ConnectionResetError("it closed the connection")
        raise ProtocolError("it spoke while it was to wait")

    async def close(self) -> None:
        """Closes when the last line is on its way."""
        self._writer.close()
        with suppress(OSError):  # TimeoutError is one
            await asyncio.wait_for(self._writer.wait_closed(), CLOSE_TIME)


def _log(talk: _Talk, sensor: UUID, message: str) -> None:
    fields = {"MESSAGE_ID": journal.ENROLMENT, "D4_SENSOR": str(sensor), "D4_ADDRESS": talk.address}
    log.info("sensor %s at %s: %s", sensor, talk.address, message, extra=fields)


def _read(ca: Path) -> str:
    try:
        return ca.read_text()
    except (OSError, ValueError) as error:
        raise sensors.Refused(f"the server has no CA to give, its [d4] ca cannot be read: {error}") from None
