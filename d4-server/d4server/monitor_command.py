"""`d4-server monitor`: one look at the sensors that are watched, and what is to be told of them.

Mail goes out by `d4-server monitor --mail`, in a unit of its own: most sendmails take on rights that the
sandbox of the look forbids. While mail waits, the look leaves a file in $RUNTIME_DIRECTORY, by which systemd
starts that unit (d4-server-mail.path).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from d4common import command
from d4server.as_root import with_redis
from d4server.config import Monitoring, ServerConfig

if TYPE_CHECKING:
    from redis.asyncio import Redis

# What only this command needs is imported where it runs: systemd waits for another one at every reload.

MAIL_WAITS = "mail"
"""The file that says so."""

Files = Callable[[argparse.Namespace], list[Path]]


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser], files: Files) -> None:
    """Adds the command to a command line. ``files`` names the configuration, from the arguments."""
    parser = commands.add_parser(
        "monitor", help="tell which sensors have fallen silent, and which are back (a timer does)"
    )
    parser.add_argument("--mail", action="store_true", help="send the mail that waits, and do nothing else")
    parser.set_defaults(run=lambda arguments: _monitor(files(arguments), arguments.mail))


def _monitor(files: list[Path], only_mail: bool) -> None:
    settings = command.load_or_end(ServerConfig, files)
    act = _mail if only_mail else _look
    problem = with_redis(settings.redis, lambda redis: act(redis, settings.monitoring))
    if problem:
        print(problem, file=sys.stderr)
        sys.exit(1)


async def _look(redis: Redis, settings: Monitoring) -> str:
    """Looks, and tells; what could not be told, in words."""
    from d4server import alerts, monitoring

    found = await monitoring.look(redis)
    for alert in found:
        alerts.write(alert)
    await alerts.hand_over(redis, found, settings)
    if settings.mail_to and await alerts.mail_waits(redis):
        for file in _runtime_files():
            file.touch()
    try:
        if settings.webhook:
            await alerts.post(redis, settings.webhook)
    except alerts.Undelivered as error:
        return str(error)
    return ""


async def _mail(redis: Redis, settings: Monitoring) -> str:
    """Sends mail; why it could not, in words. The next look says so where some waits on."""
    from d4server import alerts

    for file in _runtime_files():
        file.unlink(missing_ok=True)
    try:
        if settings.mail_to:
            await alerts.mail(redis, settings.mail_to)
    except alerts.Undelivered as error:
        return str(error)
    return ""


def _runtime_files() -> list[Path]:
    """Where to say that mail waits, if under systemd."""
    directory = os.environ.get("RUNTIME_DIRECTORY")
    return [Path(directory, MAIL_WAITS)] if directory else []
