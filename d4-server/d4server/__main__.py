"""The command d4-server."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from d4common import command, config, journal, service
from d4common.sender import Identity
from d4common.sockets import write_listen
from d4server.config import ServerConfig

if TYPE_CHECKING:
    from redis.asyncio import Redis

# What only some commands need is imported by them: systemd waits for `sockets` at every reload.

T = TypeVar("T")


def main() -> None:
    """Parses the command line and runs what it names."""
    parser = argparse.ArgumentParser(prog="d4-server", description="Stores what D4 sensors send.")
    parser.add_argument("--config", type=Path, help="read FILE and FILE.d instead of /etc/d4/server.conf")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    commands.add_parser("run", help="run the daemon").set_defaults(run=run)

    sensors_parser = commands.add_parser("sensors", help="list, add or remove sensors")
    sensors_parser.set_defaults(run=list_sensors)
    actions = sensors_parser.add_subparsers(metavar="ACTION")
    actions.add_parser("list", help="print the UUIDs of all sensors")
    add = actions.add_parser("add", help="let a sensor in")
    add.add_argument(
        "uuid", type=command.argument(config.uuid4), nargs="?", help="the sensor's UUID, of version 4"
    )
    add.add_argument("--key-file", metavar="FILE", help="its key; - reads it from standard input")
    add.add_argument("--from", type=Path, metavar="FILE", dest="identity", help="UUID and key in a drop-in")
    add.set_defaults(run=add_sensor)
    remove = actions.add_parser("remove", help="lock a sensor out")
    remove.add_argument("uuid", type=command.argument(config.uuid4))
    remove.set_defaults(run=remove_sensor)

    certificate = commands.add_parser("certificate", help="make or show the server's certificate")
    certificate.add_argument("--name", action="append", default=[], help="a further host name or address")
    certificate.add_argument("--directory", type=Path, default=Path("/etc/d4"))
    certificate.set_defaults(run=make_certificate)

    listen = commands.add_parser("sockets", help="write drop-ins for the .socket units (for systemd)")
    listen.add_argument("directory", type=Path)
    listen.set_defaults(run=write_sockets)

    command.add_config(commands, ServerConfig, files)
    arguments = parser.parse_args()
    journal.start("d4-server")
    arguments.run(arguments)


def files(arguments: argparse.Namespace) -> list[Path]:
    """The configuration files that the arguments name."""
    return config.files_of(arguments.config) if arguments.config else config.system_files("server")


def run(arguments: argparse.Namespace) -> None:
    """d4-server run"""
    from d4common import tls
    from d4server import daemon

    settings = command.load_or_end(ServerConfig, files(arguments))
    try:
        service.run(partial(daemon.run, partial(files, arguments), settings))
    except tls.TLSError as error:
        service.end(f"{error}; `d4-server certificate` makes one")


def list_sensors(arguments: argparse.Namespace) -> None:
    """d4-server sensors list"""
    from d4server import sensors

    for uuid in with_redis(arguments, sensors.known):
        print(uuid)


def add_sensor(arguments: argparse.Namespace) -> None:
    """d4-server sensors add: prints a key that it made, and only that."""
    from d4server import sensors

    if arguments.identity:
        try:
            identity = sensors.read_identity(arguments.identity)
        except config.ConfigError as error:
            service.end(str(error))
    elif arguments.uuid:
        identity = Identity(arguments.uuid, given_key(arguments.key_file) or sensors.new_key())
    else:
        service.end("name the sensor's UUID, or a file with it: --from FILE")
    with_redis(arguments, lambda redis: sensors.add(redis, identity))
    if not arguments.identity and not arguments.key_file:
        print(identity.key.decode())


def remove_sensor(arguments: argparse.Namespace) -> None:
    """d4-server sensors remove"""
    from d4server import sensors

    uuid: UUID = arguments.uuid
    if not with_redis(arguments, lambda redis: sensors.remove(redis, uuid)):
        service.end(f"{uuid} is not a known sensor; `d4-server sensors list` shows them")


def make_certificate(arguments: argparse.Namespace) -> None:
    """d4-server certificate"""
    from d4server import certificates

    try:
        certificate = certificates.ensure(arguments.directory, arguments.name)
    except (OSError, ValueError) as error:
        service.end(f"no certificate in {arguments.directory}: {error}")
    print(f"names: {', '.join(certificates.names_of(certificate))}")
    print(f"valid until: {certificates.ends(certificate):%Y-%m-%d}")
    print(f"SHA-256: {certificates.fingerprint(certificate)}")
    print(f"for sensors: {arguments.directory / 'ca.pem'}")


def write_sockets(arguments: argparse.Namespace) -> None:
    """d4-server sockets: a drop-in for the socket if it shall not listen where its unit says."""
    d4 = command.load_or_end(ServerConfig, files(arguments)).d4
    if d4.endpoint != ServerConfig().d4.endpoint:
        write_listen(arguments.directory, "d4-server.socket", "ListenStream", [d4.endpoint])


def given_key(file: str | None) -> bytes | None:
    """The key in a file, without the white space around it."""
    if file is None:
        return None
    try:
        key = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        service.end(f"{file} cannot be read: {error.strerror}")
    if not key.strip():
        service.end(f"{file} holds no key")
    return key.strip()


def with_redis(arguments: argparse.Namespace, work: Callable[[Redis], Awaitable[T]]) -> T:
    """The result of ``work`` with the Redis of the configuration."""
    from redis.exceptions import RedisError

    from d4common import records

    url = command.load_or_end(ServerConfig, files(arguments)).redis.url

    async def connected() -> T:
        redis = records.connect(url)
        try:
            return await work(redis)
        finally:
            await records.close(redis)

    try:
        return asyncio.run(connected())
    except (RedisError, OSError) as error:
        service.end(f"Redis at {url} does not answer: {error}")


if __name__ == "__main__":
    main()
