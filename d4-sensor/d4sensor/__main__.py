"""The command d4-sensor."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from d4common import command, config, journal, malloc, service
from d4sensor import (
    daemon,
    enroll_commands,
    explain,
    identity,
    replay,
    send,
    spool_commands,
    trail_commands,
)
from d4sensor.capture import CaptureError
from d4sensor.config import SensorConfig
from d4sensor.engine import Engine
from d4sensor.ship import NoIdentity
from d4sensor.spoolfile import SpoolError


def main() -> None:
    """Parses the command line and runs what it names."""
    parser = argparse.ArgumentParser(prog="d4-sensor", description="Sees malicious traffic and reports it.")
    parser.add_argument("--config", type=Path, help="read FILE and FILE.d instead of /etc/d4/sensor.conf")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    commands.add_parser("run", help="run the daemon").set_defaults(run=run)

    replaying = commands.add_parser("replay", help="show, or send, the events in capture files")
    _add_capture_files(replaying)
    replaying.add_argument("--send", action="store_true", help="send the events instead of printing them")
    replaying.add_argument(
        "--timestamps",
        choices=("pcap", "wallclock"),
        default="pcap",
        help="when the events happen: as captured, or now",
    )
    replaying.set_defaults(run=run_replay)

    explaining = commands.add_parser("explain", help="say which packet is an event, by which rule and trail")
    _add_capture_files(explaining)
    explaining.set_defaults(run=run_explain)

    trail_commands.add(commands, files)

    enroll_commands.add(commands, files)

    send.add(commands, files)

    spool_commands.add(commands, files)

    making = commands.add_parser("identity", help="make the sensor's UUID and key, once")
    making.add_argument("--file", type=Path, default=identity.PATH)
    making.set_defaults(run=make_identity)

    command.add_config(commands, SensorConfig, files)
    arguments = parser.parse_args()
    journal.start("d4-sensor")
    arguments.run(arguments)


def _add_capture_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="+", help="capture file (pcap)")
    parser.add_argument("--json", action="store_true", help="print objects of JSON, one a line")
    parser.add_argument(
        "--trails",
        action="append",
        type=lambda path: Path(path).absolute(),
        metavar="PATH",
        help="file or directory of trails, instead of the configured ones; repeatable",
    )


def files(arguments: argparse.Namespace) -> list[Path]:
    """The configuration files that the arguments name."""
    return config.files_of(arguments.config) if arguments.config else config.system_files("sensor")


def run(arguments: argparse.Namespace) -> None:
    """d4-sensor run"""
    malloc.keep_buffers()
    settings = command.load_or_end(SensorConfig, files(arguments))
    try:
        service.run(partial(daemon.run, partial(files, arguments), settings))
    except (NoIdentity, SpoolError) as error:
        service.end(str(error))


def run_replay(arguments: argparse.Namespace) -> None:
    """d4-sensor replay"""
    settings = command.load_or_end(SensorConfig, files(arguments))
    packets = replay.watched(replay.batches(arguments.file))
    found = replay.events(_engine(arguments, settings), packets, arguments.timestamps == "wallclock")
    try:
        if arguments.send:
            service.run(partial(replay.send, found, settings))
        else:
            replay.show(found, arguments.json)
    except (CaptureError, NoIdentity) as error:
        service.end(str(error))
    except BrokenPipeError:
        pass  # whoever read our output has seen enough


def run_explain(arguments: argparse.Namespace) -> None:
    """d4-sensor explain"""
    settings = command.load_or_end(SensorConfig, files(arguments))
    packets = replay.watched(replay.batches(arguments.file))
    try:
        explain.show(explain.explain(_engine(arguments, settings), packets), arguments.json)
        sys.stdout.flush()
    except CaptureError as error:
        service.end(str(error))
    except BrokenPipeError:
        pass  # whoever read our output has seen enough


def _engine(arguments: argparse.Namespace, settings: SensorConfig) -> Engine:
    malloc.keep_buffers()
    trails = daemon.load_trails(settings.trails, arguments.trails or ())
    return daemon.make_engine(settings, trails)


def make_identity(arguments: argparse.Namespace) -> None:
    """d4-sensor identity"""
    try:
        made = identity.make(arguments.file)
    except OSError as error:
        service.end(f"{arguments.file} cannot be written: {error.strerror}")
    print(f"{arguments.file} {'made' if made else 'is there already, and stays'}")


if __name__ == "__main__":
    main()
