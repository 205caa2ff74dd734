"""The life of a daemon under systemd: readiness, watchdog, status, reload, inherited sockets, orderly stop.

A daemon is a coroutine that gets a Service and returns when ``service.stopping`` is set. All of it works
without systemd too, where notifications go nowhere and the daemon binds its own sockets.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, NoReturn

import uvloop
from systemd.daemon import listen_fds_with_names, notify

log = logging.getLogger(__name__)

Main = Callable[["Service"], Awaitable[None]]


class Service:
    """What a daemon says to its service manager, and hears from it."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        """Set when the daemon has been asked to stop."""
        self._reload: Callable[[], str] | None = None

    def ready(self, status: str, reload: Callable[[], str] | None = None) -> None:
        """The daemon serves. ``reload`` is called on SIGHUP and returns the new status."""
        self._reload = reload
        _tell(f"READY=1\nSTATUS={status}")
        log.info("%s", status)

    def status(self, text: str) -> None:
        """The line that `systemctl status` shows."""
        _tell(f"STATUS={text}")

    def stop(self) -> None:
        """Asks the daemon to stop; asked twice, the process ends at once."""
        if self.stopping.is_set():
            os._exit(1)
        _tell("STOPPING=1\nSTATUS=Stopping")
        self.stopping.set()

    def reload(self) -> None:
        """Calls what the daemon gave for this; what goes wrong is its to report."""
        if self._reload is None:
            return
        _tell("RELOADING=1")
        try:
            status = self._reload()
        except Exception:
            log.exception("the reload failed; what was in force stays")
            _tell("READY=1")
            return
        _tell(f"READY=1\nSTATUS={status}")
        log.info("%s", status)


def run(main: Main) -> None:
    """Runs a daemon until it has stopped."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(main))


def _tell(text: str) -> None:
    """sd_notify(3); a manager that does not hear keeps the daemon neither from its work nor from stopping."""
    with suppress(OSError):
        notify(text)


async def _run(main: Main) -> None:
    service = Service()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, service.stop)
    loop.add_signal_handler(signal.SIGHUP, service.reload)
    watchdog = asyncio.create_task(_watch())
    try:
        await main(service)
    finally:
        watchdog.cancel()


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancels tasks and waits until they have ended.

    It takes more than one try where redis-py is at work: it looks whether it can read by a time-out of its
    own, of no length, and takes a cancellation that comes in the same turn of the loop for that.
    """
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=0.1)


async def _watch() -> None:
    """Tells the watchdog, twice in its time, that the event loop turns (sd_watchdog_enabled(3))."""
    most = watchdog()
    while most:
        _tell("WATCHDOG=1")
        await asyncio.sleep(most / 2)


def watchdog() -> float | None:
    """Seconds for which this process may be silent (WatchdogSec=), if its service manager has set any."""
    microseconds = int(os.environ.get("WATCHDOG_USEC", "0"))
    ours = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return microseconds / 1_000_000 if microseconds and ours else None


def inherited_sockets(name: str) -> list[socket.socket]:
    """The sockets that systemd holds for this process under ``name`` (FileDescriptorName=).

    An empty list means that there are none, and the daemon binds its own.
    """
    names = listen_fds_with_names(unset_environment=False)
    return [_adopt(fd) for fd, its_name in names.items() if its_name == name]


def _adopt(fd: int) -> socket.socket:
    adopted = socket.socket(fileno=os.dup(fd))
    adopted.setblocking(False)
    return adopted


def end(message: str, status: int = 1) -> NoReturn:
    """Ends the process with a line on standard error: for what stops a start, not for a bug."""
    print(message, file=sys.stderr)
    sys.exit(status)
