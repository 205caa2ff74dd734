"""The whole chain from this tree, without systemd: a private Redis, certificates, daemons in one directory.

Every daemon is the real one, started with ``python3 -m``, and says that it is ready as it would to systemd.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

TREE = Path(__file__).resolve().parent.parent
PYTHON = "/usr/bin/python3"
PACKAGES = ("d4common", "d4-sensor", "d4-server", "d4-exporter", "maltrail-collector")
READY_TIME = 30.0
"""Seconds that a daemon may take until it is ready."""


class Failed(Exception):
    """A part of the chain did not do what it was started for; the message holds what it said."""


def environment() -> dict[str, str]:
    """The environment in which the daemons of this tree are found."""
    path = os.pathsep.join(str(TREE / package) for package in PACKAGES)
    return {**os.environ, "PYTHONPATH": path}


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port on loopback that nobody uses at the moment."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Daemon:
    """One process of the chain; ``log`` gets what it says."""

    def __init__(self, name: str, arguments: list[str], directory: Path) -> None:
        self.log = directory / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._name = name
        self._arguments = arguments
        self._notify = directory / f"{name}.notify"

    def start(self) -> None:
        """Starts the process and waits until it has said that it is ready. Raises Failed."""
        self._notify.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard, self.log.open("ab") as log:
            heard.bind(str(self._notify))
            self.process = subprocess.Popen(
                self._arguments,
                env={**environment(), "NOTIFY_SOCKET": str(self._notify)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            self._wait_until_ready(heard)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ends the process; orderly, unless told otherwise."""
        if self.process is None:
            return
        self.process.send_signal(number)
        self.process.wait(timeout=30)
        self.process = None

    def _wait_until_ready(self, heard: socket.socket) -> None:
        assert self.process is not None
        deadline = time.monotonic() + READY_TIME
        while time.monotonic() < deadline and self.process.poll() is None:
            if select.select([heard], [], [], 0.1)[0] and b"READY=1" in heard.recv(4096):
                return
        raise Failed(f"{self._name} did not start:\n{self.log.read_text()}")


class Chain:
    """Redis, d4-server, d4-exporter and maltrail-collector, ready for a sensor. A context manager."""

    def __init__(self, directory: Path, workers: int = 1) -> None:
        """``workers`` processes of d4-server serve connections."""
        self.directory = directory
        self._workers = workers
        self.events = directory / "events"
        """Where the collector keeps the days' logs."""
        self.redis_socket = directory / "redis.sock"
        self.tls_port = free_port()
        self.udp_port = free_port(socket.SOCK_DGRAM)
        self.http_port = free_port()
        self._configure()
        redis = [
            *("redis-server", "--port", "0", "--unixsocket", str(self.redis_socket)),
            *("--dir", str(directory), "--save", "", "--appendonly", "yes", "--appendfsync", "always"),
            *("--supervised", "systemd"),
        ]
        self.redis = Daemon("redis", redis, directory)
        self.server = Daemon("server", self.command("d4server", "server", "run"), directory)
        self.exporter = Daemon("exporter", self.command("d4exporter", "exporter", "run", "demo"), directory)
        self.collector = Daemon("collector", self.command("maltrailcollector", "collector", "run"), directory)

    def __enter__(self) -> Chain:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def command(self, module: str, config: str, *arguments: str) -> list[str]:
        """A command of the tree with its configuration file in the chain's directory."""
        return [PYTHON, "-m", module, "--config", str(self.directory / f"{config}.conf"), *arguments]

    def run(self, module: str, config: str, *arguments: str) -> str:
        """What a command prints. Raises Failed with what it said if it did not succeed."""
        result = subprocess.run(
            self.command(module, config, *arguments), env=environment(), capture_output=True, text=True
        )
        if result.returncode:
            raise Failed(f"{module} {' '.join(arguments)}:\n{result.stderr}")
        return result.stdout

    def _configure(self) -> None:
        directory = self.directory
        self.events.mkdir()
        redis = f"[redis]\nurl = unix://{self.redis_socket}\n"
        files = {
            "server": f"{redis}[d4]\nlisten = 127.0.0.1\ntls_port = {self.tls_port}\n"
            f"certificate = {directory}/tls/server.pem\nkey = {directory}/tls/server.key\n"
            f"metrics = {directory}/metrics.sock\n"
            + (f"workers = {self._workers}\n" if self._workers > 1 else ""),
            "exporter": f"{redis}[queue]\ntype = maltrail\nqueue = maltrail\n"
            f"[sink]\ndestination = 127.0.0.1:{self.udp_port}\n",
            "collector": f"[udp]\nudp_port = {self.udp_port}\n[log]\nlog_dir = {self.events}\n"
            f"[web]\nhttp_port = {self.http_port}\nstate_dir = {directory}\n",
            "sensor": f"[d4]\ndestination = 127.0.0.1:{self.tls_port}\nca = {directory}/ca.pem\n"
            f"[spool]\npath = {directory}/spool\n",
        }
        for name, text in files.items():
            (directory / f"{name}.conf").write_text(text)

    def _start(self) -> None:
        identity = self.directory / "sensor.conf.d" / "10-identity.conf"
        self.run("d4server", "server", "certificate", "--directory", str(self.directory))
        self.run("d4sensor", "sensor", "identity", "--file", str(identity))
        self.redis.start()
        self.run("d4server", "server", "sensors", "add", "--from", str(identity))
        for daemon in (self.server, self.collector, self.exporter):
            daemon.start()

    def _stop(self) -> None:
        for daemon in (self.exporter, self.server, self.collector, self.redis):
            daemon.stop()
