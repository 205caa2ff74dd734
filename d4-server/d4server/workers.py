"""Several workers and their keeper, which is to them what systemd is to a daemon.

The keeper holds the listening sockets and serves no connection itself. A worker is a process of its own,
`d4-server worker`, and is started again whenever it has ended. It says by sd_notify(3) that it is ready and
alive, and serves its metrics, both at Unix sockets in a directory of the keeper's. Its standard input ends
with the keeper, and the worker with that.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from asyncio.subprocess import PIPE, Process
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prometheus_client import Metric

from d4common import metrics
from d4common.service import watchdog
from d4server import figures
from d4server.config import ServerConfig

log = logging.getLogger(__name__)

PAUSE = 1.0
"""Seconds after which a worker that has ended is started again."""

START_TIME = 90.0
"""Seconds in which it must be ready, as with systemd."""

STOP_TIME = 30.0
"""Seconds in which it must have stopped; Redis may take half of it."""

ANSWER_TIME = 2.0
"""Seconds in which it must say its metrics, or they are left out."""


class Workers:
    """All workers of a server."""

    def __init__(self, command: Sequence[str], number: int, listening: list[socket.socket]) -> None:
        """``command`` is that of d4-server, with its configuration."""
        self._directory = TemporaryDirectory(prefix="d4-server-")
        place = Path(self._directory.name)
        self._children = [_Child(each, command, listening, place) for each in range(1, number + 1)]
        self._closing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._closed = asyncio.Event()

    def works(self) -> list[Coroutine[Any, Any, None]]:
        """What goes on until the end."""
        return [self._keep()]

    async def open(self) -> None:
        """Returns when all of them serve."""
        for child in self._children:
            await child.ready.wait()

    async def families(self) -> Iterable[Metric]:
        """Their metrics; those of a worker that does not answer are left out."""
        found = await asyncio.gather(*(child.families() for child in self._children))
        return figures.of_workers({number: each for number, each in enumerate(found, 1) if each is not None})

    def reload(self, settings: ServerConfig) -> None:
        """Has all of them reload; the configuration they read themselves."""
        for child in self._children:
            child.reload()

    async def close(self) -> None:
        """Stops all of them, each as a daemon stops."""
        self._closing.set_result(None)
        await self._closed.wait()

    async def _keep(self) -> None:
        with self._directory:
            await asyncio.gather(*(child.keep(self._closing) for child in self._children))
        self._closed.set()


class _Child:
    """One worker as its keeper sees it: one process after another."""

    def __init__(
        self, number: int, command: Sequence[str], listening: list[socket.socket], directory: Path
    ) -> None:
        self.ready = asyncio.Event()
        self._name = f"worker {number}"
        self._metrics, notify = directory / f"{number}.metrics", directory / f"{number}.notify"
        self._sockets = [each.fileno() for each in listening]
        self._command = [*command, "worker", str(number), str(self._metrics), *map(str, self._sockets)]
        self._environment = _environment(notify)
        self._notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notified.bind(str(notify))
        self._notified.setblocking(False)
        self._process: Process | None = None
        self._reloads = False
        """Whether it is to reload once it is ready."""
        self._patience: asyncio.TimerHandle | None = None

    async def keep(self, closing: asyncio.Future[None]) -> None:
        """Runs process after process; stops the last of them when ``closing`` is done.

        By no cancellation: uvloop would lose sight of a process that is being started.
        """
        loop = asyncio.get_running_loop()
        loop.add_reader(self._notified.fileno(), self._hear)
        try:
            while not closing.done():
                ending = await self._live(closing)
                if not closing.done():
                    log.error("%s %s; starting another", self._name, ending)
                    await asyncio.wait([closing], timeout=PAUSE)
        finally:
            loop.remove_reader(self._notified.fileno())
            self._notified.close()

    async def families(self) -> list[Metric] | None:
        """Its metrics, if it answers."""
        try:
            return await metrics.ask(self._metrics, ANSWER_TIME)
        except (OSError, ValueError):
            return None

    def reload(self) -> None:
        """Has the process reload; one that is not ready yet has no ear for it."""
        if self.ready.is_set():
            self._send(signal.SIGHUP)
        else:
            self._reloads = True

    async def _live(self, closing: asyncio.Future[None]) -> str:
        """One process, from its start to its end; how it ended."""
        self._reloads = False
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=PIPE,
                pass_fds=self._sockets,
                env=self._environment,
                start_new_session=True,  # what is typed at a terminal is for the keeper
            )
        except OSError as error:
            return f"cannot be started: {error.strerror}"
        self._wait(START_TIME)
        ended = asyncio.create_task(self._process.wait())
        either: tuple[asyncio.Future[Any], ...] = (ended, closing)
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            await self._stop(ended)
        self._hear()
        self.ready.clear()
        self._wait(None)
        return _ending(await ended)

    async def _stop(self, ended: asyncio.Task[int]) -> None:
        """Has the process stop, in its order if that does not take too long."""
        self._send(signal.SIGTERM)
        await asyncio.wait([ended], timeout=STOP_TIME)
        if not ended.done():
            log.error("%s did not stop in %.0f s, ending it", self._name, STOP_TIME)
            self._send(signal.SIGKILL)

    def _hear(self) -> None:
        """Takes in what the process has said."""
        said = b""
        with suppress(BlockingIOError):
            while True:
                said += self._notified.recv(4096) + b"\n"
        if b"READY=1\n" in said:
            self.ready.set()
            if self._reloads:
                self._reloads = False
                self._send(signal.SIGHUP)
        if said:
            self._wait(watchdog() if self.ready.is_set() else START_TIME)

    def _wait(self, most: float | None) -> None:
        """Lets the process be silent for so many seconds from now, or for any time."""
        if self._patience is not None:
            self._patience.cancel()
        loop = asyncio.get_running_loop()
        self._patience = loop.call_later(most, self._lose_patience) if most else None

    def _lose_patience(self) -> None:
        """Ends a process that has been silent for too long."""
        log.error("%s does not answer, ending it", self._name)
        self._send(signal.SIGABRT)
        self._send(signal.SIGCONT)  # one that is stopped takes no other signal

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):
            self._process.send_signal(number)


def _environment(notify: Path) -> dict[str, str]:
    """That of the keeper, with the keeper in systemd's place."""
    own = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID", "WATCHDOG_USEC")
    environment = {name: value for name, value in os.environ.items() if name not in own}
    environment["NOTIFY_SOCKET"] = str(notify)
    most = watchdog()
    if most:
        environment["WATCHDOG_USEC"] = str(round(most * 1_000_000))
    return environment


def _ending(status: int) -> str:
    """How a process ended, by its exit status or, below zero, the signal."""
    return f"ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
