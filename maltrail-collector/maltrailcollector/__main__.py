"""The command maltrail-collector."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from getpass import getpass
from pathlib import Path

from d4common import command, config, journal, service
from d4common.sockets import write_listen
from maltrailcollector.config import CollectorConfig


def main() -> None:
    """Parses the command line and runs what it names."""
    parser = argparse.ArgumentParser(
        prog="maltrail-collector", description="Receives, keeps and shows events of Maltrail sensors."
    )
    parser.add_argument("--config", type=Path, help="read FILE and FILE.d instead of /etc/d4/collector.conf")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    commands.add_parser("run", help="run the daemon").set_defaults(run=run)

    password = commands.add_parser("password", help="set a new password for the page, and print it")
    password.add_argument("--set", action="store_true", help="read the password from standard input")
    password.set_defaults(run=set_password)

    listen = commands.add_parser("sockets", help="write drop-ins for the .socket units (for systemd)")
    listen.add_argument("directory", type=Path)
    listen.set_defaults(run=write_sockets)

    command.add_config(commands, CollectorConfig, files)
    arguments = parser.parse_args()
    arguments.run(arguments)


def files(arguments: argparse.Namespace) -> list[Path]:
    """The configuration files that the arguments name."""
    return config.files_of(arguments.config) if arguments.config else config.system_files("collector")


def run(arguments: argparse.Namespace) -> None:
    """maltrail-collector run"""
    from maltrailcollector import daemon  # the other commands are quick without it

    journal.start("maltrail-collector")
    settings = command.load_or_end(CollectorConfig, files(arguments))
    daemon.run(settings, partial(files, arguments))


def set_password(arguments: argparse.Namespace) -> None:
    """maltrail-collector password: prints a password that it made, and only that."""
    from d4common.passwords import chosen, random_password
    from maltrailcollector import passwords

    state_dir = command.load_or_end(CollectorConfig, files(arguments)).web.state_dir
    password = given_password() if arguments.set else random_password()
    try:
        chosen(password)
    except ValueError as error:
        service.end(f"a password {error}")
    try:
        passwords.store(state_dir, password)
    except OSError as error:
        service.end(f"{passwords.path_of(state_dir)} cannot be written: {error.strerror}")
    if not arguments.set:
        print(password)


def write_sockets(arguments: argparse.Namespace) -> None:
    """maltrail-collector sockets: a drop-in for each socket that shall not listen where its unit says."""
    settings, default = command.load_or_end(CollectorConfig, files(arguments)), CollectorConfig()
    if settings.udp.endpoint != default.udp.endpoint:
        unit = "maltrail-collector.socket"
        write_listen(arguments.directory, unit, "ListenDatagram", [settings.udp.endpoint])
    if settings.web.endpoint != default.web.endpoint:
        unit = "maltrail-collector-web.socket"
        write_listen(arguments.directory, unit, "ListenStream", [settings.web.endpoint])


def given_password() -> str:
    """A password from standard input, which a terminal does not show."""
    return getpass("New password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")


if __name__ == "__main__":
    main()
