"""`d4-server status`: tables for people, JSON for programs."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from d4common import command
from d4server.config import ServerConfig

if TYPE_CHECKING:
    from d4server.status import Daemon, Status, Stored

# What only this command needs is imported where it runs: systemd waits for another one at every reload.

Files = Callable[[argparse.Namespace], list[Path]]


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser], files: Files) -> None:
    """Adds the command to a command line. ``files`` names the configuration, from the arguments."""
    parser = commands.add_parser(
        "status", help="show sensors, queues, streams and Redis; exit status 1 if anything does not answer"
    )
    parser.add_argument("--json", action="store_true", help="print one object of JSON")
    parser.set_defaults(run=lambda arguments: _show(files(arguments), arguments.json))


def _show(files: list[Path], as_json: bool) -> None:
    from d4server import status

    found = asyncio.run(status.status(command.load_or_end(ServerConfig, files)))
    if as_json:
        print(json.dumps(status.as_json(found)))
    else:
        print("\n".join(lines(found, time.time())))
    for problem in found.problems:
        print(problem, file=sys.stderr)
    sys.exit(1 if found.problems else 0)


def lines(found: Status, now: float) -> Iterator[str]:
    """The status as text, at a time in seconds since the epoch."""
    rows = []
    if found.daemon is not None:
        rows.append(("server", _server(found.daemon)))
    if found.stored is not None:
        rows += _redis(found.stored)
    if found.certificate_end is not None:
        rows.append(("certificate", _certificate(found.certificate_end, now)))
    for name, text in rows:
        yield f"{name:12} {text}"
    if found.stored is not None:
        yield from _tables(found.stored)


def _server(daemon: Daemon) -> str:
    kinds = ", ".join(f"{number} {kind}" for kind, number in daemon.connections.items()) or "none"
    waiting = f", {size(daemon.waiting)} wait for Redis" if daemon.waiting else ""
    workers = "" if daemon.workers is None else f"{daemon.workers} workers, "
    return f"{workers}{daemon.sensors} sensors connected; connections: {kinds}{waiting}"


def _redis(stored: Stored) -> Iterator[tuple[str, str]]:
    limit = f" of {size(stored.survey.memory_limit)}" if stored.survey.memory_limit else ", no limit"
    disk = f"; {size(stored.disk.free)} free in {stored.disk.directory}" if stored.disk else ""
    yield "redis", f"{size(stored.survey.memory)} of memory{limit}{disk}"
    yield "sensors", ", ".join(f"{number} {state}" for state, number in stored.sensors.items())
    volumes = stored.today.volumes.values()
    packets, sent = sum(each.packets for each in volumes), sum(each.bytes for each in volumes)
    refused = sum(stored.today.refused.values())
    yield (
        "today",
        (
            f"{packets} packets, {size(sent)}, {sum(each.records for each in volumes)} records; refused: "
            f"{refused} connections of sensors, {sum(stored.today.strangers.values())} of strangers"
        ),
    )


def _certificate(end: float, now: float) -> str:
    date = time.strftime("%Y-%m-%d", time.localtime(end))
    return f"ends {date}, in {int((end - now) // 86400)} days" if end > now else f"ended {date}"


def _tables(stored: Stored) -> Iterator[str]:
    queues = [
        (*map(str, (each.name, each.type, each.lag, each.pending)), age(each.oldest), str(each.consumers))
        for each in stored.survey.queues
    ]
    yield ""
    yield from table(("QUEUE", "TYPE", "LAG", "UNACKNOWLEDGED", "OLDEST", "CONSUMERS"), queues)
    yield ""
    streams = [(each.type, str(each.entries), size(each.bytes)) for each in stored.survey.streams]
    yield from table(("STREAM", "ENTRIES", "MEMORY"), streams)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows in columns that are as wide as they must be."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def time_of(when: float) -> str:
    """A time in seconds since the epoch, as people here read it: 2026-11-24 13:05."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(when))


def size(number: float) -> str:
    """Bytes, as people read them: 512 B, 4.0 KiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"


def age(seconds: float) -> str:
    """Seconds, as people read them; - for none."""
    for least, unit in ((2 * 86400, "d"), (2 * 3600, "h"), (120, "min")):
        if seconds >= least:
            return f"{seconds // {'d': 86400, 'h': 3600, 'min': 60}[unit]:.0f}{unit}"
    return f"{seconds:.0f}s" if seconds else "-"
