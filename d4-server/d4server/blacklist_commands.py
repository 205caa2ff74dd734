"""The commands about the blacklist: who is locked out, by UUID, address or network."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from d4common import command, service
from d4common.redis_url import RedisSection
from d4server.config import ServerConfig
from d4server.sensor_commands import with_redis

# What only these commands need is imported where they run: systemd waits for another one at every reload.

Files = Callable[[argparse.Namespace], list[Path]]


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser], files: Files) -> None:
    """Adds the commands to a command line. ``files`` names the configuration, from the arguments."""

    def where(arguments: argparse.Namespace) -> RedisSection:
        return command.load_or_end(ServerConfig, files(arguments)).redis

    parser = commands.add_parser("blacklist", help="show or change who is locked out")
    parser.set_defaults(run=lambda arguments: _list(where(arguments)))
    actions = parser.add_subparsers(metavar="ACTION")
    actions.add_parser("list", help="show all UUIDs, addresses and networks on it")
    for name, act, help in (
        ("add", _add, "lock a sensor, an address or a network out, also where it is connected"),
        ("remove", _remove, "let it in again"),
    ):
        acting = actions.add_parser(name, help=help)
        acting.add_argument("entry", type=command.argument(_entry), metavar="UUID|ADDRESS|NETWORK")
        acting.set_defaults(run=lambda arguments, act=act: act(where(arguments), arguments.entry))


def _list(where: RedisSection) -> None:
    """d4-server blacklist list"""
    from d4server import blacklist

    for entry in with_redis(where, blacklist.entries):
        print(entry)


def _add(where: RedisSection, entry: str) -> None:
    """d4-server blacklist add"""
    from d4server import blacklist

    with_redis(where, lambda redis: blacklist.add(redis, entry))


def _remove(where: RedisSection, entry: str) -> None:
    """d4-server blacklist remove"""
    from d4server import blacklist

    if not with_redis(where, lambda redis: blacklist.remove(redis, entry)):
        service.end(f"{entry} is not on the blacklist; `d4-server blacklist list` shows what is")


def _entry(text: str) -> str:
    from d4server import blacklist

    return blacklist.parse(text)
