"""The command d4-exporter."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from d4common import command, config, journal, service
from d4exporter import daemon
from d4exporter.config import ExporterConfig, instance_files


def main() -> None:
    """Parses the command line and runs what it names."""
    parser = argparse.ArgumentParser(prog="d4-exporter", description="Exports records of an analyzer queue.")
    parser.add_argument("--config", type=Path, help="read FILE and FILE.d instead of the instance's")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    running = commands.add_parser("run", help="run the daemon for an instance")
    running.set_defaults(run=run)
    checking = command.add_config(commands, ExporterConfig, files)
    for each in (running, checking):
        each.add_argument("name", help="instance: /etc/d4/exporter.d/NAME.conf")
    arguments = parser.parse_args()
    journal.start("d4-exporter")
    arguments.run(arguments)


def files(arguments: argparse.Namespace) -> list[Path]:
    """The configuration files that the arguments name."""
    return config.files_of(arguments.config) if arguments.config else instance_files(arguments.name)


def run(arguments: argparse.Namespace) -> None:
    """d4-exporter run"""
    settings = command.load_or_end(ExporterConfig, files(arguments))
    service.run(partial(daemon.run, arguments.name, settings))


if __name__ == "__main__":
    main()
