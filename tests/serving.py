"""A d4-server of its own for a test, the Redis that it needs, and what a sensor sends it."""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path
from uuid import UUID, uuid4

from redis import Redis

from d4common.packet import encode
from d4common.records import partition, stream
from demo.chain import PYTHON, Daemon, environment, free_port

KEY = b"a key of the tests"
META = b'{"type":"maltrail"}\n'


def packet(uuid: UUID, type: int, payload: bytes, key: bytes = KEY) -> bytes:
    """A packet of now."""
    return encode(key, uuid.bytes, type, payload, int(time.time()))


def own_redis(directory: Path) -> Daemon:
    """A redis-server of the test's own, to be started, killed and started again, at directory/redis.sock.

    Like that of the demonstration it has written to its append-only file what it has answered for.
    """
    options = [
        *("--port", "0", "--unixsocket", str(directory / "redis.sock"), "--dir", str(directory)),
        *("--save", "", "--appendonly", "yes", "--appendfsync", "always", "--supervised", "systemd"),
    ]
    return Daemon("redis", ["redis-server", *options], directory)


def end(daemon: Daemon, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
    """Stops a daemon; its exit status, and the seconds that it took."""
    process, began = daemon.process, time.monotonic()
    assert process is not None
    daemon.stop(number)
    return process.returncode, time.monotonic() - began


class Server:
    """A d4-server in ``directory`` with the Redis at a Unix socket, not yet started."""

    def __init__(self, directory: Path, redis: Path) -> None:
        self.port = free_port()
        self.ca = directory / "ca.pem"
        self.redis = Redis(unix_socket_path=str(redis))
        self.config = directory / "server.conf"
        self.config.write_text(
            f"[redis]\nurl = unix://{redis}\n"
            f"[d4]\nlisten = 127.0.0.1\ntls_port = {self.port}\n"
            f"certificate = {directory}/tls/server.pem\nkey = {directory}/tls/server.key\n"
        )
        self.base = [PYTHON, "-m", "d4server", "--config", str(self.config)]
        self.command("certificate", "--directory", str(directory))
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
        self.command("sensors", "add", str(uuid), "--key-file", "-", input=KEY)
        return uuid

    def connect(self) -> ssl.SSLSocket:
        """A verified TLS connection."""
        context = ssl.create_default_context(cafile=self.ca)
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        return context.wrap_socket(plain, server_hostname="127.0.0.1")

    def entries(self, uuid: UUID, type: str = "maltrail") -> list[bytes]:
        """What is stored of a sensor."""
        found = self.redis.xrange(stream(type, partition(uuid)))
        return [fields[b"data"] for _, fields in found if fields[b"sensor"] == uuid.bytes]

    def lines(self, uuid: UUID, type: str = "maltrail") -> list[bytes]:
        """The lines that are stored of a sensor."""
        return b"".join(self.entries(uuid, type)).splitlines()

    def log(self) -> str:
        """What the server said."""
        return self.daemon.log.read_text()


def closed(connection: socket.socket) -> bool:
    """Whether the server has closed; it never says anything else."""
    try:
        return connection.recv(1) == b""
    except (ConnectionError, ssl.SSLError):
        return True
