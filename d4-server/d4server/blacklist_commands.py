"""The commands about the blacklist: who is locked out, by UUID, address or network."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from d4common import command
from d4server.as_root import operate_or_end, with_redis
from d4server.config import ServerConfig

# What only these commands need is imported where they run: systemd waits for another one at every reload.

Files = Callable[[argparse.Namespace], list[Path]]


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser], files: Files) -> None:
    """Adds the commands to a command line. ``files`` names the configuration, from the arguments."""

    def settings(arguments: argparse.Namespace) -> ServerConfig:
        return command.load_or_end(ServerConfig, files(arguments))

    def act(verb: str, arguments: argparse.Namespace) -> None:
        operate_or_end(settings(arguments), f"blacklist.{verb}", entry=arguments.entry)

    parser = commands.add_parser("blacklist", help="show or change who is locked out")
    parser.set_defaults(run=lambda arguments: _list(settings(arguments)))
    actions = parser.add_subparsers(metavar="ACTION")
    actions.add_parser("list", help="show all UUIDs, addresses and networks on it")
    for name, help in (
        ("add", "lock a sensor, an address or a network out, also where it is connected"),
        ("remove", "let it in again"),
    ):
        acting = actions.add_parser(name, help=help)
        acting.add_argument("entry", type=command.argument(_entry), metavar="UUID|ADDRESS|NETWORK")
        acting.set_defaults(run=lambda arguments, name=name: act(name, arguments))


def _list(settings: ServerConfig) -> None:
    """d4-server blacklist list"""
    from d4server import blacklist

    for entry in with_redis(settings.redis, blacklist.entries):
        print(entry)


def _entry(text: str) -> str:
    from d4server import blacklist

    return blacklist.parse(text)
