"""The commands about what waits to be sent: spool status and spool renew."""

from __future__ import annotations

import argparse
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from d4common import command, service
from d4sensor.config import SensorConfig
from d4sensor.config import Spool as Settings
from d4sensor.ship import EVENT_SPOOL

if TYPE_CHECKING:
    import sqlite3

    from d4sensor.spoolfile import About

# What only these commands need is imported where they run: the daemon starts without it.

Files = Callable[[argparse.Namespace], list[Path]]


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser], files: Files) -> None:
    """Adds the commands to a command line. ``files`` names the configuration, from the arguments."""

    def settings(arguments: argparse.Namespace) -> Settings:
        return command.load_or_end(SensorConfig, files(arguments)).spool

    parser = commands.add_parser("spool", help="show what waits to be sent, make a spool a new one")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    showing = actions.add_parser("status", help="what waits in each spool, and what was dropped")
    showing.set_defaults(run=lambda arguments: _status(settings(arguments)))
    renewing = actions.add_parser(
        "renew",
        help="make a spool that was restored from a copy a new one for the server",
        description="What waits in the spool is sent, even what the server has had before the copy was "
        "restored. Whoever sends from it must not run meanwhile.",
    )
    renewing.add_argument(
        "spool", nargs="?", default=EVENT_SPOOL, help=f"as spool status names it; {EVENT_SPOOL}"
    )
    renewing.set_defaults(run=lambda arguments: _renew(settings(arguments).path / arguments.spool))


def _status(settings: Settings) -> None:
    """d4-sensor spool status"""
    for path in sorted(settings.path.rglob("*.db")):
        print(f"{path.relative_to(settings.path)}: {_described(path)}")


def _described(path: Path) -> str:
    """What waits in a spool, or what the daemon says of it that has it open."""
    from d4sensor.spoolfile import SpoolError

    try:
        with _opened(path) as (database, about):
            return _summary(database, about)
    except SpoolError as error:
        unit = "d4-sensor" if path.name == EVENT_SPOOL else f"d4-source@{path.parent.name}"
        said = _said_by(unit)
        return f"{unit} sends from it: {said}" if said else str(error)


def _summary(database: sqlite3.Connection, about: About) -> str:
    from d4sensor.spoolfile import rows_from

    text = f"{about.records} records in {about.next - about.first} packets wait, {about.size} bytes"
    for oldest in rows_from(database, about.first, most=1):
        text += f", since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(oldest.time))}"
    return f"{text}; {about.dropped_records} were dropped since it was made"


def _said_by(unit: str) -> str:
    """The status of a unit that runs; empty for one that does not."""
    command = ["systemctl", "show", "--property=ActiveState,StatusText", unit]
    try:
        shown = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    except FileNotFoundError:
        return ""
    properties = dict(line.split("=", 1) for line in shown.splitlines())
    return properties.get("StatusText", "") if properties.get("ActiveState") == "active" else ""


def _renew(path: Path) -> None:
    """d4-sensor spool renew"""
    from d4sensor.spoolfile import SpoolError, write_about

    if not path.exists():
        service.end(f"{path} is not there")
    try:
        with _opened(path) as (database, about):
            database.execute("PRAGMA synchronous = FULL")
            write_about(database, replace(about, uuid=str(uuid4()), known=0))
    except SpoolError as error:
        service.end(str(error))
    print(f"{path} is a new spool now; {about.records} records in it will be sent")


@contextmanager
def _opened(path: Path) -> Iterator[tuple[sqlite3.Connection, About]]:
    """The file of a spool that nobody else has open; SQLite leaves it to its owner. Raises SpoolError."""
    from d4sensor.spoolfile import connect, explained, read_about, refuse_newer

    with explained(path), closing(connect(path)) as database:
        refuse_newer(database, path)
        yield database, read_about(database, path)
