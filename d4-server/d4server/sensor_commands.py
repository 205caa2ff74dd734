"""The commands about sensors: who may connect, who waits for that, and with which keys."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from d4common import command, config, service
from d4common.redis_url import RedisSection
from d4common.sender import Identity
from d4server.config import ServerConfig, ServerRedis

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from d4server.sensors import Sensor

# What only these commands need is imported where they run: systemd waits for another one at every reload.

T = TypeVar("T")

Files = Callable[[argparse.Namespace], list[Path]]

LONGEST_VALID = 366 * 86400
"""Seconds for which a token may be valid."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser], files: Files) -> None:
    """Adds the commands to a command line. ``files`` names the configuration, from the arguments."""

    def where(arguments: argparse.Namespace) -> ServerRedis:
        return command.load_or_end(ServerConfig, files(arguments)).redis

    parser = commands.add_parser("sensors", help="show sensors, let them in, lock them out")
    parser.set_defaults(run=lambda arguments: _list(where(arguments), False))
    actions = parser.add_subparsers(metavar="ACTION")

    listing = actions.add_parser("list", help="show all sensors, and who waits for approval")
    listing.add_argument("--json", action="store_true", help="print objects of JSON, one a line")
    listing.set_defaults(run=lambda arguments: _list(where(arguments), arguments.json))

    adding = actions.add_parser("add", help="let a sensor in by its UUID and key, or give it another key")
    adding.add_argument("uuid", type=command.argument(config.uuid4), nargs="?", help="UUID of version 4")
    adding.add_argument("--key-file", metavar="FILE", help="its key; - reads it from standard input")
    adding.add_argument(
        "--from", type=Path, metavar="FILE", dest="identity", help="UUID and key in a drop-in"
    )
    adding.set_defaults(run=lambda arguments: _add(where(arguments), arguments))

    token = actions.add_parser("token", help="print a token that lets one sensor in that has it")
    token.add_argument("--name", type=command.argument(_name), help="the sensor's name")
    token.add_argument(
        "--valid", type=command.argument(_valid), default="24h", help="time span in which it can be used"
    )
    token.set_defaults(run=lambda arguments: _token(where(arguments), arguments))

    kicking = actions.add_parser("kick", help="close a sensor's connections; it may come again soon")
    kicking.add_argument("uuid", type=command.argument(config.uuid4), help="UUID of version 4")
    kicking.add_argument(
        "--for", type=command.argument(_valid), default="30s", dest="span", help="time span until then"
    )
    kicking.set_defaults(run=lambda arguments: _kick(where(arguments), arguments.uuid, arguments.span))

    for name, act, help in (
        ("approve", _approve, "let a sensor in that waits for approval"),
        ("revoke", _revoke, "lock a sensor out, and keep it on the list"),
        ("remove", _remove, "lock a sensor out and forget it: it may ask to be let in again"),
        ("rotate", _rotate, "print another key for a sensor; the former is valid for a day"),
    ):
        acting = actions.add_parser(name, help=help)
        acting.add_argument("uuid", type=command.argument(config.uuid4), help="UUID of version 4")
        acting.set_defaults(run=lambda arguments, act=act: act(where(arguments), arguments.uuid))


def _list(where: ServerRedis, as_json: bool) -> None:
    """d4-server sensors list"""
    found = with_redis(where, _known)
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
    heard = _time(seen) if seen else "-"
    activity = f"{_time(sensor.added)}  {heard:16}  {packets:9}"
    admission = f"{sensor.state:8}  {sensor.source or '-':13}"
    return f"{sensor.uuid}  {admission}  {activity}  {sensor.code or '-':9}  {sensor.name}".rstrip()


def _time(when: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(when))


def _object(sensor: Sensor, seen: int, packets: int) -> str:
    more = {"uuid": str(sensor.uuid), "seen": seen or None, "packets_today": packets}
    return json.dumps({**sensor._asdict(), **more})


def _add(where: ServerRedis, arguments: argparse.Namespace) -> None:
    """d4-server sensors add: prints a key that it made, and only that."""
    from d4server import sensors

    if arguments.identity:
        try:
            identity = sensors.read_identity(arguments.identity)
        except config.ConfigError as error:
            service.end(str(error))
    elif arguments.uuid:
        identity = Identity(arguments.uuid, _given_key(arguments.key_file) or sensors.new_key())
    else:
        service.end("name the sensor's UUID, or a file with it: --from FILE")
    _written(where, lambda redis: sensors.add(redis, identity))
    if not arguments.identity and not arguments.key_file:
        print(identity.key.decode())


def _token(where: ServerRedis, arguments: argparse.Namespace) -> None:
    """d4-server sensors token: prints the token, and only that."""
    from d4server import admission

    print(_written(where, lambda redis: admission.new_token(redis, arguments.name or "", arguments.valid)))


def _approve(where: ServerRedis, sensor: UUID) -> None:
    """d4-server sensors approve"""
    from d4server import admission

    _written(where, lambda redis: admission.approve(redis, sensor))


def _revoke(where: ServerRedis, sensor: UUID) -> None:
    """d4-server sensors revoke"""
    from d4server import sensors

    if not _written(where, lambda redis: sensors.revoke(redis, sensor)):
        _end_unknown(sensor)


def _remove(where: ServerRedis, sensor: UUID) -> None:
    """d4-server sensors remove"""
    from d4server import sensors

    if not _written(where, lambda redis: sensors.remove(redis, sensor)):
        _end_unknown(sensor)


def _rotate(where: ServerRedis, sensor: UUID) -> None:
    """d4-server sensors rotate: prints the key, and only that."""
    from d4server import sensors

    print(_written(where, lambda redis: sensors.rotate(redis, sensor)).decode())


def _kick(where: ServerRedis, sensor: UUID, seconds: float) -> None:
    """d4-server sensors kick"""
    from d4server import blacklist

    with_redis(where, lambda redis: blacklist.kick(redis, sensor, seconds))


def _end_unknown(sensor: UUID) -> None:
    service.end(f"{sensor} is not a known sensor; `d4-server sensors list` shows them")


def _given_key(file: str | None) -> bytes | None:
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


def _name(text: str) -> str:
    from d4common import enrolling

    return enrolling.name(text)


def _valid(text: str) -> float:
    span = config.seconds(text)
    if not 1 <= span <= LONGEST_VALID:
        raise ValueError(f"must be a time span from 1s to {LONGEST_VALID // 86400}d")
    return span


def _written(where: ServerRedis, work: Callable[[Redis], Awaitable[T]]) -> T:
    """The result of ``work``, which writes, once as many replicas have that as is configured."""
    from d4server import sensors

    async def written(redis: Redis) -> T:
        result = await work(redis)
        await sensors.replicated(redis, where.replicas)
        return result

    return with_redis(where, written)


def with_redis(where: RedisSection, work: Callable[[Redis], Awaitable[T]]) -> T:
    """The result of ``work`` with the Redis ``where``; ends the process where that cannot be."""
    from redis.exceptions import RedisError

    from d4common import redis_client
    from d4server.sensors import Refused

    async def connected() -> T:
        redis = redis_client.connect_or_end(where)
        try:
            return await work(redis)
        finally:
            await redis_client.close(redis)

    try:
        return asyncio.run(connected())
    except Refused as error:
        service.end(str(error))
    except (RedisError, OSError) as error:
        service.end(f"Redis at {where.url} does not answer: {redis_client.explain(error)}")
