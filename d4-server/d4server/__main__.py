"""The command d4-server."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from d4common import command, config, journal, service
from d4common.sockets import write_listen
from d4server import (
    blacklist_commands,
    monitor_command,
    operation_commands,
    sensor_commands,
    status_command,
)
from d4server.config import ServerConfig

# What only some commands need is imported by them: systemd waits for `sockets` at every reload.


def main() -> None:
    """Parses the command line and runs what it names."""
    arguments = command_line().parse_args()
    journal.start("d4-server")
    arguments.run(arguments)


def command_line() -> argparse.ArgumentParser:
    """All commands."""
    parser = command.parser("d4-server", "Stores what D4 sensors send.")
    parser.add_argument("--config", type=Path, help="read FILE and FILE.d instead of /etc/d4/server.conf")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    commands.add_parser("run", help="run the daemon").set_defaults(run=run)

    worker = commands.add_parser("worker")  # nobody types this: the daemon starts its workers by it
    worker.add_argument("number", type=int)
    worker.add_argument("metrics", type=Path)
    worker.add_argument("sockets", type=int, nargs="+")
    worker.set_defaults(run=run_worker)

    commands.add_parser("web", help="run the page and the API for administrators").set_defaults(run=run_web)

    sensor_commands.add(commands, files)
    blacklist_commands.add(commands, files)
    operation_commands.add(commands, files)
    status_command.add(commands, files)
    monitor_command.add(commands, files)

    certificate = commands.add_parser("certificate", help="make or show the server's certificate")
    certificate.add_argument("--name", action="append", default=[], help="a further host name or address")
    certificate.add_argument("--directory", type=Path, default=Path("/etc/d4"))
    certificate.set_defaults(run=make_certificate)

    listen = commands.add_parser("sockets", help="write drop-ins for the .socket units (for systemd)")
    listen.add_argument("directory", type=Path)
    listen.set_defaults(run=write_sockets)

    command.add_config(commands, ServerConfig, files)
    return parser


def files(arguments: argparse.Namespace) -> list[Path]:
    """The configuration files that the arguments name."""
    return config.files_of(arguments.config) if arguments.config else config.system_files("server")


def run(arguments: argparse.Namespace) -> None:
    """d4-server run"""
    from d4server import daemon

    chosen = ["--config", str(arguments.config)] if arguments.config else []
    own = [sys.executable, "-P", "-m", "d4server", *chosen]
    _serve(arguments, partial(daemon.run, command=own))


def run_worker(arguments: argparse.Namespace) -> None:
    """d4-server worker"""
    from d4server import daemon

    number, place, sockets = arguments.number, arguments.metrics, arguments.sockets
    _serve(arguments, partial(daemon.run_worker, number=number, place=place, sockets=sockets))


def run_web(arguments: argparse.Namespace) -> None:
    """d4-server web"""
    from d4server.web import daemon

    _serve(arguments, daemon.run)


def _serve(arguments: argparse.Namespace, main: Callable[..., Awaitable[None]]) -> None:
    """Runs the daemon, one of its workers, or the page: what needs the server's certificate."""
    from d4common import tls

    settings = command.load_or_end(ServerConfig, files(arguments))
    try:
        service.run(partial(main, partial(files, arguments), settings))
    except tls.TLSError as error:
        service.end(f"{error}; `d4-server certificate` makes one")


def make_certificate(arguments: argparse.Namespace) -> None:
    """d4-server certificate"""
    from d4server import certificates, client_certificates

    try:
        certificate = certificates.ensure(arguments.directory, arguments.name)
        client_certificates.ensure(arguments.directory)
    except (OSError, ValueError) as error:
        service.end(f"no certificate in {arguments.directory}: {error}")
    print(f"names: {', '.join(certificates.names_of(certificate))}")
    print(f"valid until: {certificates.ends(certificate):%Y-%m-%d}")
    print(f"SHA-256: {certificates.fingerprint(certificate)}")
    print(f"for sensors: {arguments.directory / 'ca.pem'}")


def write_sockets(arguments: argparse.Namespace) -> None:
    """d4-server sockets: drop-ins for the sockets that shall not listen where their units say."""
    settings, usual = command.load_or_end(ServerConfig, files(arguments)), ServerConfig()
    for unit, wanted, written in (
        ("d4-server.socket", settings.d4.endpoint, usual.d4.endpoint),
        ("d4-server-web.socket", settings.web.endpoint, usual.web.endpoint),
    ):
        if wanted != written:
            write_listen(arguments.directory, unit, "ListenStream", [wanted])


if __name__ == "__main__":
    main()
