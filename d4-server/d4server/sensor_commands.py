"""The commands about sensors: who may connect, who waits for that, and with which keys."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from d4common import command, config, service
from d4common.sender import Identity
from d4server import operation_commands
from d4server.as_root import given, operate_or_end, with_redis
from d4server.config import ServerConfig
from d4server.status_command import time_of

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from d4server.sensors import Sensor

# What only these commands need is imported where they run: systemd waits for another one at every reload.

Files = Callable[[argparse.Namespace], list[Path]]

LONGEST_VALID = 366 * 86400
"""Seconds for which a token may be valid."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser], files: Files) -> None:
    """Adds the commands to a command line. ``files`` names the configuration, from the arguments."""

    def settings(arguments: argparse.Namespace) -> ServerConfig:
        return command.load_or_end(ServerConfig, files(arguments))

    def act(verb: str, arguments: argparse.Namespace, **values: float) -> None:
        operate_or_end(settings(arguments), f"sensors.{verb}", uuid=str(arguments.uuid), **values)

    parser = commands.add_parser("sensors", help="show sensors, let them in, lock them out")
    parser.set_defaults(run=lambda arguments: _list(settings(arguments), False))
    actions = parser.add_subparsers(metavar="ACTION")

    listing = actions.add_parser("list", help="show all sensors, and who waits for approval")
    listing.add_argument("--json", action="store_true", help="print objects of JSON, one a line")
    listing.set_defaults(run=lambda arguments: _list(settings(arguments), arguments.json))

    adding = actions.add_parser("add", help="let a sensor in by its UUID and key, or give it another key")
    adding.add_argument("uuid", type=command.argument(config.uuid4), nargs="?", help="UUID of version 4")
    adding.add_argument("--key-file", metavar="FILE", help="its key; - reads it from standard input")
    adding.add_argument(
        "--from", type=Path, metavar="FILE", dest="identity", help="UUID and key in a drop-in"
    )
    adding.set_defaults(run=lambda arguments: _add(settings(arguments), arguments))

    token = actions.add_parser("token", help="print a token that lets one sensor in that has it")
    token.add_argument("--name", type=command.argument(_name), help="the sensor's name")
    token.add_argument(
        "--valid", type=command.argument(_valid), default="24h", help="time span in which it can be used"
    )
    token.set_defaults(run=lambda arguments: _token(settings(arguments), arguments))

    kicking = actions.add_parser("kick", help="close a sensor's connections; it may come again soon")
    kicking.add_argument("uuid", type=command.argument(config.uuid4), help="UUID of version 4")
    kicking.add_argument(
        "--for", type=command.argument(_valid), default="30s", dest="span", help="time span until then"
    )
    kicking.set_defaults(run=lambda arguments: act("kick", arguments, span=arguments.span))

    for name, help in (
        ("approve", "let a sensor in that waits for approval"),
        ("revoke", "lock a sensor out, and keep it on the list"),
        ("remove", "lock a sensor out and forget it: it may ask to be let in again"),
    ):
        acting = actions.add_parser(name, help=help)
        acting.add_argument("uuid", type=command.argument(config.uuid4), help="UUID of version 4")
        acting.set_defaults(run=lambda arguments, name=name: act(name, arguments))

    rotating = actions.add_parser("rotate", help="print another key; the former is valid for a day")
    rotating.add_argument("uuid", type=command.argument(config.uuid4), help="UUID of version 4")
    rotating.set_defaults(run=lambda arguments: _rotate(settings(arguments), arguments.uuid))

    operation_commands.extend(parser, actions, "sensors", files)


def _list(settings: ServerConfig, as_json: bool) -> None:
    """d4-server sensors list"""
    found = with_redis(settings.redis, _known)
    if not as_json:
        head = f"{'UUID':36}  {'STATE':8}  {'SOURCE':13}  {'ADDED':16}  {'SEEN':16}"
        print(f"{head}  {'TODAY':>9}  {'CODE':9}  NAME")
    for sensor, seen, packets in found:
        print(_object(sensor, seen, packets) if as_json else _row(sensor, seen, packets))


async def _known(redis: Redis) -> list[tuple[Sensor, int, int]]:
    """All sensors, when each was last heard (0: not within the time that is kept), and its packets today."""
    from d4server import sensors, statistics

    known = await sensors.known(redis)
    seen = await statistics.last_seen(redis)
    today = await statistics.today(redis, [sensor.uuid for sensor in known])
    return [(sensor, seen.get(sensor.uuid, 0), today[sensor.uuid].packets) for sensor in known]


def _row(sensor: Sensor, seen: int, packets: int) -> str:
    heard = time_of(seen) if seen else "-"
    activity = f"{time_of(sensor.added)}  {heard:16}  {packets:9}"
    admission = f"{sensor.state:8}  {sensor.source or '-':13}"
    return f"{sensor.uuid}  {admission}  {activity}  {sensor.code or '-':9}  {sensor.name}".rstrip()


def _object(sensor: Sensor, seen: int, packets: int) -> str:
    more = {"uuid": str(sensor.uuid), "seen": seen or None, "packets_today": packets}
    return json.dumps({**sensor._asdict(), **more})


def _add(settings: ServerConfig, arguments: argparse.Namespace) -> None:
    """d4-server sensors add: prints a key that it made, and only that."""
    from d4server import sensors

    if arguments.identity:
        try:
            identity = sensors.read_identity(arguments.identity)
        except config.ConfigError as error:
            service.end(str(error))
    elif arguments.uuid:
        key = given(arguments.key_file, "key") if arguments.key_file else sensors.new_key()
        identity = Identity(arguments.uuid, key)
    else:
        service.end("name the sensor's UUID, or a file with it: --from FILE")
    operate_or_end(settings, "sensors.add", uuid=str(identity.uuid), key=identity.key)
    if not arguments.identity and not arguments.key_file:
        print(identity.key.decode())


def _token(settings: ServerConfig, arguments: argparse.Namespace) -> None:
    """d4-server sensors token: prints the token, and only that."""
    values = {"name": arguments.name or "", "valid": arguments.valid}
    print(operate_or_end(settings, "enrolment.issue", **values).token)


def _rotate(settings: ServerConfig, sensor: UUID) -> None:
    """d4-server sensors rotate: prints the key, and only that."""
    print(operate_or_end(settings, "sensors.rotate", uuid=str(sensor)).key)


def _name(text: str) -> str:
    from d4common import enrolling

    return enrolling.name(text)


def _valid(text: str) -> float:
    span = config.seconds(text)
    if not 1 <= span <= LONGEST_VALID:
        raise ValueError(f"must be a time span from 1s to {LONGEST_VALID // 86400}d")
    return span
