"""A d4-server of its own for a test, the Redis that it needs, a d4-sensor for it, and what sensors send."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import UUID, uuid4

from redis import Redis

from d4common import event, redis_client
from d4common.compression import decompress
from d4common.event import Event
from d4common.packet import encode
from d4common.records import partition, stream
from d4common.sender import Identity
from d4sensor import identity
from d4server import certificates, sensors
from demo.chain import PYTHON, Daemon, environment, free_port

KEY = b"a key of the tests"
META = b'{"type":"maltrail"}\n'


def packet(uuid: UUID, type: int, payload: bytes, key: bytes = KEY) -> bytes:
    """A packet of now."""
    return encode(key, uuid.bytes, type, payload, int(time.time()))


def own_redis(directory: Path, data: Path | None = None, runner: Sequence[str] = ()) -> Daemon:
    """A redis-server of the test's own, to be started, killed and started again, at directory/redis.sock.

    Like that of the demonstration it has written to its append-only file what it has answered for; it is in
    ``data``, if not in ``directory``. ``runner`` is what stands before the command.
    """
    options = [
        *("--port", "0", "--unixsocket", str(directory / "redis.sock"), "--dir", str(data or directory)),
        *("--save", "", "--appendonly", "yes", "--appendfsync", "always", "--supervised", "systemd"),
    ]
    return Daemon("redis", [*runner, "redis-server", *options], directory)


def end(daemon: Daemon, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
    """Stops a daemon; its exit status, and the seconds that it took."""
    process, began = daemon.process, time.monotonic()
    assert process is not None
    daemon.stop(number)
    return process.returncode, time.monotonic() - began


def command(package: str, sooner: Mapping[str, float]) -> list[str]:
    """What runs the command of a daemon, in which constants have other values than in its source.

    ``sooner`` has them by module and name, such as ``d4server.daemon.STATUS_INTERVAL``: seconds, mostly,
    for which a test would have to wait.
    """
    if not sooner:
        return [PYTHON, "-m", package]
    lines = [f"import {name.rpartition('.')[0]}; {name} = {value}" for name, value in sooner.items()]
    return [PYTHON, "-c", "\n".join([*lines, f"from {package}.__main__ import main; main()"])]


class Server:
    """A d4-server in ``directory`` with the Redis at a Unix socket, not yet started.

    ``sooner`` as command() has it.
    """

    def __init__(self, directory: Path, redis: Path, sooner: Mapping[str, float] | None = None) -> None:
        self.port = free_port()
        self.ca = directory / "ca.pem"
        self.redis_path = redis
        self.redis = Redis(unix_socket_path=str(redis))
        self.config = directory / "server.conf"
        self.config.write_text(
            f"[redis]\nurl = unix://{redis}\n"
            f"[d4]\nlisten = 127.0.0.1\ntls_port = {self.port}\n"
            f"certificate = {directory}/tls/server.pem\nkey = {directory}/tls/server.key\nca = {self.ca}\n"
            f"metrics = {directory}/metrics.sock\n"
        )
        self.base = [*command("d4server", sooner or {}), "--config", str(self.config)]
        certificates.ensure(directory, [])
        self.daemon = Daemon("server", [*self.base, "run"], directory)

    def command(self, *arguments: str, input: bytes | None = None) -> str:
        """What a d4-server command prints; it must succeed."""
        result = self.attempt(*arguments, input=input)
        assert result.returncode == 0, result.stderr
        return result.stdout.decode()

    def attempt(self, *arguments: str, input: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        """What becomes of a d4-server command."""
        return subprocess.run(
            [*self.base, *arguments], env=environment(), input=input, capture_output=True, timeout=60
        )

    def sensor(self) -> UUID:
        """A sensor that the server lets in with KEY."""
        uuid = uuid4()
        self.let_in(Identity(uuid, KEY))
        return uuid

    def let_in(self, identity: Identity) -> None:
        """Does what `d4-server sensors add` does."""

        async def add() -> None:
            redis = redis_client.connect(f"unix://{self.redis_path}")
            await sensors.add(redis, identity)
            await redis_client.close(redis)

        asyncio.run(add())

    def connect(self, own: tuple[Path, Path] | None = None) -> ssl.SSLSocket:
        """A verified TLS connection, with a certificate and key of the client's ``own`` if there are any."""
        context = ssl.create_default_context(cafile=self.ca)
        if own:
            context.load_cert_chain(*own)
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        return context.wrap_socket(plain, server_hostname="127.0.0.1")

    def entries(self, uuid: UUID, type: str = "maltrail") -> list[bytes]:
        """What is stored of a sensor."""
        found = self.redis.xrange(stream(type, partition(uuid)))
        return [decompress(fields) for _, fields in found if fields[b"sensor"] == uuid.bytes]

    def data(self, uuid: UUID, type: str = "maltrail") -> bytes:
        """The same as one piece: how much makes an entry depends on what has come at once."""
        return b"".join(self.entries(uuid, type))

    def lines(self, uuid: UUID, type: str = "maltrail") -> list[bytes]:
        """The lines that are stored of a sensor."""
        return self.data(uuid, type).splitlines()

    def log(self) -> str:
        """What the server said."""
        return self.daemon.log.read_text()


class Sensor:
    """A d4-sensor in ``directory`` that watches ``left`` for 203.0.113.5, not yet started.

    ``sooner`` as command() has it.
    """

    def __init__(self, directory: Path, server: Server, sooner: Mapping[str, float] | None = None) -> None:
        self.server = server
        self.ca = directory / "sensor-ca.pem"
        self.trails = directory / "trails.txt"
        self.trails.write_text("203.0.113.5\n")
        self.spool = directory / "spool" / "maltrail.db"
        self.config = directory / "sensor.conf"
        self.config.write_text(
            f"[d4]\ndestination = 127.0.0.1:{server.port}\nca = {self.ca}\n"
            f"[spool]\npath = {self.spool.parent}\n"
            f"[capture]\ninterface = left\nbuffer = 1M\nname = vm\n[trails]\npath = {self.trails}\n"
        )
        self.base = [*command("d4sensor", sooner or {}), "--config", str(self.config)]
        path = directory / "sensor.conf.d" / "10-identity.conf"
        identity.make(path)
        made = sensors.read_identity(path)
        server.let_in(made)
        self.uuid = made.uuid
        self.daemon = Daemon("sensor", [*self.base, "run"], directory)

    def trust(self, ca: Path) -> None:
        """Gives the sensor its CA."""
        self.ca.write_bytes(ca.read_bytes())

    def attempt(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What becomes of a d4-sensor command."""
        return subprocess.run(
            [*self.base, *arguments], env=environment(), capture_output=True, text=True, timeout=60
        )

    def command(self, *arguments: str) -> str:
        """What a command prints; it must succeed."""
        result = self.attempt(*arguments)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def arrived(self) -> list[Event]:
        """The sensor's events, as the server has stored them."""
        return [event.parse(line.decode()) for line in self.server.lines(self.uuid)]

    def seen(self) -> list[str]:
        """The trails of its events."""
        return [found.trail for found in self.arrived()]

    def reload(self) -> None:
        assert self.daemon.process is not None
        self.daemon.process.send_signal(signal.SIGHUP)

    def log(self) -> str:
        """What it said."""
        return self.daemon.log.read_text() if self.daemon.log.exists() else ""


def closed(connection: socket.socket) -> bool:
    """Whether the server has closed; it never says anything else."""
    try:
        return connection.recv(1) == b""
    except (ConnectionError, ssl.SSLError):
        return True


def at_end(connection: socket.socket) -> bool:
    """Whether the server has closed by now."""
    connection.settimeout(0.05)
    try:
        return closed(connection)
    except TimeoutError:
        return False
