"""The command d4-sensor."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from d4common import command, config, journal, service
from d4sensor import daemon, identity, replay
from d4sensor.capture import CaptureError
from d4sensor.config import SensorConfig
from d4sensor.engine import Engine
from d4sensor.ship import NoIdentity


def main() -> None:
    """Parses the command line and runs what it names."""
    parser = argparse.ArgumentParser(prog="d4-sensor", description="Sees malicious traffic and reports it.")
    parser.add_argument("--config", type=Path, help="read FILE and FILE.d instead of /etc/d4/sensor.conf")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    commands.add_parser("run", help="run the daemon").set_defaults(run=run)

    replaying = commands.add_parser("replay", help="show, or send, the events in capture files")
    replaying.add_argument("file", nargs="+", help="capture file (pcap)")
    replaying.add_argument("--send", action="store_true", help="send the events instead of printing them")
    replaying.add_argument(
        "--trails",
        action="append",
        type=lambda path: Path(path).absolute(),
        metavar="PATH",
        help="file or directory of trails, instead of the configured ones; repeatable",
    )
    replaying.add_argument(
        "--timestamps",
        choices=("pcap", "wallclock"),
        default="pcap",
        help="when the events happen: as captured, or now",
    )
    replaying.set_defaults(run=run_replay)

    making = commands.add_parser("identity", help="make the sensor's UUID and key, once")
    making.add_argument("--file", type=Path, default=identity.PATH)
    making.set_defaults(run=make_identity)

    command.add_config(commands, SensorConfig, files)
    arguments = parser.parse_args()
    journal.start("d4-sensor")
    arguments.run(arguments)


def files(arguments: argparse.Namespace) -> list[Path]:
    """The configuration files that the arguments name."""
    return config.files_of(arguments.config) if arguments.config else config.system_files("sensor")


def run(arguments: argparse.Namespace) -> None:
    """d4-sensor run"""
    settings = command.load_or_end(SensorConfig, files(arguments))
    try:
        service.run(partial(daemon.run, partial(files, arguments), settings))
    except NoIdentity as error:
        service.end(str(error))


def run_replay(arguments: argparse.Namespace) -> None:
    """d4-sensor replay"""
    settings = command.load_or_end(SensorConfig, files(arguments))
    paths = arguments.trails or settings.trails.path
    engine = Engine(daemon.load_trails(paths), settings.capture.sensor_name())
    found = replay.events(engine, arguments.file, arguments.timestamps == "wallclock")
    try:
        if arguments.send:
            service.run(partial(replay.send, found, settings))
        else:
            replay.show(found)
    except (CaptureError, NoIdentity) as error:
        service.end(str(error))
    except BrokenPipeError:
        pass  # whoever read our output has seen enough


def make_identity(arguments: argparse.Namespace) -> None:
    """d4-sensor identity"""
    try:
        made = identity.make(arguments.file)
    except OSError as error:
        service.end(f"{arguments.file} cannot be written: {error.strerror}")
    print(f"{arguments.file} {'made' if made else 'is there already, and stays'}")


if __name__ == "__main__":
    main()
