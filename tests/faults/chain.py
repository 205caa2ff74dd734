"""From a file that grows to the stream: the processes on the way, each to be ended and started at will."""

from __future__ import annotations

import shutil
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from faults.proxy import Contexts, Proxy
from faults.table import Row
from redis.exceptions import RedisError
from serving import Server, end, own_redis
from waiting import wait_for

from d4common import event, tls
from d4common.compression import decompress
from d4common.event import Event
from d4common.records import partition, stream, streams
from d4common.session import ALPN_ACK
from d4sensor import identity
from d4server import sensors
from demo.chain import PYTHON, Daemon

EVENTS = 50_000

AHEAD = 5_000
"""Events that the file has beyond those in the stream, so that all stages are at work at each fault."""

PATIENCE = 300.0
"""Seconds that events may take to arrive."""


class Chain:
    """Redis, d4-servers, a proxy before them, and `d4-sensor send` that follows a file. A context manager.

    ``runner`` has what stands before the commands of ``redis``, ``server`` and ``source``.
    """

    def __init__(
        self,
        servers: int = 1,
        runner: Mapping[str, Sequence[str]] | None = None,
        spool: Path | None = None,
        data: Path | None = None,
        recorded: bool = False,
        events: int = EVENTS,
    ) -> None:
        """``spool`` and ``data``: where the source and Redis keep what they have, if not beside the rest.

        With ``recorded`` the proxy hears what is said. ``events``: how many there are, at most EVENTS.
        """
        self._exit = ExitStack()
        self._runner = runner or {}
        self._events, self._lines = events, b"".join(LINES[:events])
        self.directory = Path(self._exit.enter_context(TemporaryDirectory(prefix="faults-")))
        self.redis = own_redis(self.directory, data, self._runner.get("redis", ()))
        self.servers: list[Server] = []
        for number in range(servers):
            self.servers.append(self._server(number))
        self.server = self.servers[0]
        client = tls.client_context(self.server.ca, True, (ALPN_ACK,))
        contexts = Contexts(self.server_context((ALPN_ACK,)), client) if recorded else None
        self.proxy = self._exit.enter_context(Proxy([server.port for server in self.servers], contexts))
        self.identity = self.directory / "sensor.conf.d" / "10-identity.conf"
        identity.make(self.identity)
        self.uuid = sensors.read_identity(self.identity).uuid
        self.source = self._source(spool or self.directory / "spool")
        self.ahead = AHEAD
        """Events that the file has beyond those in the stream."""
        self.faults = 0
        """How often something was done to the chain."""
        numbered = self.directory / "numbered.log"
        self._file = self._exit.enter_context(numbered.open("wb", buffering=0))
        self._written = self._arrived = 0
        self._last = "-"
        self._began = time.monotonic()

    def __enter__(self) -> Chain:
        try:
            self.redis.start()
            self.server.let_in(sensors.read_identity(self.identity))
            for server in self.servers:
                server.daemon.start()
            self.source.start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def steps(self, faults: int) -> Iterator[int]:
        """Gives 0, 1, …, each when a further part of the events is in the stream: time for the next fault."""
        for number in range(faults):
            self.flow(self._events * (number + 1) // (faults + 1))
            yield number
            self.faults += 1

    def flow(self, count: int) -> None:
        """Lets the file grow, and returns when so many events are in the stream."""
        self.flow_until(lambda: self._arrived >= count)

    def flow_until(self, condition: Callable[[], object]) -> None:
        """Lets the file grow, with all events but the last, until something has happened."""

        def happened() -> object:
            self._look()
            self._write(min(self._arrived + self.ahead, self._events - 1))
            return condition()

        wait_for(happened, PATIENCE)

    def says(self, daemon: Daemon, words: str, times: int = 1) -> None:
        """Lets the file grow until a process has said this so many times."""
        self.flow_until(lambda: daemon.log.read_text().count(words) >= times)

    def kill(self, *daemons: Daemon) -> None:
        """kill -9 of all of them at once."""
        for daemon in daemons:
            if daemon.process is not None:
                daemon.process.kill()
        for daemon in daemons:
            daemon.stop()

    def finish(self) -> Row:
        """Lets all events arrive, ends what brought them in an orderly way, and counts."""
        with suppress(AssertionError):  # the row says how many are missing
            self.flow(self._events - 1)
            self._write(self._events)  # it comes behind all that a source may send again
            self.flow(self._events)
        for daemon in (self.source, *(server.daemon for server in self.servers)):
            status, _ = end(daemon)
            assert (status, "Traceback" in daemon.log.read_text()) == (0, False), daemon.log.read_text()
        return self._count()

    def entries(self) -> list[dict[bytes, bytes]]:
        """All that is in the streams of all partitions."""
        return [entry for key in streams("maltrail") for _, entry in self.server.redis.xrange(key)]

    def server_context(self, alpn: Sequence[str]) -> ssl.SSLContext:
        """With it one is the server, as far as the sensor can know."""
        directory = self.server.ca.parent / "tls"
        return tls.server_context(directory / "server.pem", directory / "server.key", alpn)

    def _look(self) -> None:
        """Looks at what is new in the stream, where Redis answers."""
        key = stream("maltrail", partition(self.uuid))
        with suppress(RedisError):
            for id, fields in self.server.redis.xrange(key, self._last):
                self._arrived += decompress(fields).count(b"\n")
                self._last = f"({id.decode()}"

    def _write(self, count: int) -> None:
        """Lets the file grow to about so many events, mostly with an unfinished line at its end."""
        size = len(self._lines) * count // self._events
        self._written += self._file.write(self._lines[self._written : size])

    def _count(self) -> Row:
        numbers = [number_in(line) for entry in self.entries() for line in decompress(entry).splitlines()]
        distinct = set(numbers)
        return Row(
            sent=self._events,
            stored=len(numbers),
            lost=len(set(range(self._events)) - distinct),
            doubled=len(numbers) - len(distinct),
            in_order=numbers == sorted(numbers),
            faults=self.faults,
            seconds=time.monotonic() - self._began,
        )

    def _server(self, number: int) -> Server:
        """All servers have the CA and the certificate of the first."""
        directory = self.directory / f"server-{number}"
        if number:
            shutil.copytree(self.directory / "server-0", directory)
        else:
            directory.mkdir()
        server = Server(directory, self.directory / "redis.sock")
        command = [*self._runner.get("server", ()), *server.base, "run"]
        server.daemon = Daemon("server", command, directory)
        return server

    def _source(self, spool: Path) -> Daemon:
        config = self.directory / "sensor.conf"
        config.write_text(
            f"[d4]\ndestination = 127.0.0.1:{self.proxy.port}\nca = {self.server.ca}\n"
            f"[spool]\npath = {spool}\n"
        )
        source = self.directory / "sources.d" / "numbered.conf"
        source.parent.mkdir()
        source.write_text(
            f"[source]\nkind = file\npath = {self.directory}/numbered.log\ntype = 254\n"
            'metaheader = {"type":"maltrail"}\nsnaplen = 4096\n'
        )
        sending = [PYTHON, "-m", "d4sensor", "--config", str(config), "send", "numbered"]
        return Daemon("source", [*self._runner.get("source", ()), *sending], self.directory)

    def _end(self) -> None:
        self.kill(self.source, *(server.daemon for server in self.servers), self.redis)
        for server in self.servers:
            server.redis.close()
        self._exit.close()


def line(number: int) -> bytes:
    """An event of about 150 bytes, as Maltrail has it on the wire; its trail is its number."""
    fields = ("faults", f"192.0.2.{number % 250}", "40000", "198.51.100.53", "53", "UDP", "DNS")
    trail = f"{number}.{'x' * 20}.example.com"
    return Event(1_790_000_000 + number // 1000, 0, *fields, trail, "numbered", "(tests)").wire()


def number_in(line: bytes) -> int:
    """The number of an event in the stream."""
    return int(event.parse(line.decode()).trail.partition(".")[0])


LINES = [line(number) for number in range(EVENTS)]
