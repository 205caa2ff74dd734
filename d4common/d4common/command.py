"""Command lines: what every daemon's has, ``config show`` and ``config check``, and how they are parsed."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from d4common import config, service

T = TypeVar("T")

BROKEN_CONFIG = 78
"""Exit status (EX_CONFIG of sysexits.h) by which systemd knows that another try is no use."""


class Parser(argparse.ArgumentParser):
    """A parser whose arguments may be added when the command line comes to it; see later()."""

    add_rest: Callable[[argparse.ArgumentParser], None] | None = None

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Adds the arguments first that were left for later."""
        if self.add_rest is not None:
            add_rest, self.add_rest = self.add_rest, None
            add_rest(self)
        return super().parse_known_args(args, namespace)


def parser(prog: str, description: str) -> argparse.ArgumentParser:
    """A parser of a command line, whose sub-commands may be filled later."""
    return Parser(prog=prog, description=description)


def later(parser: argparse.ArgumentParser, add_rest: Callable[[argparse.ArgumentParser], None]) -> None:
    """Has arguments added to a parser when the command line comes to it: what they are costs time to know."""
    assert isinstance(parser, Parser)
    parser.add_rest = add_rest


def load_or_end(schema: type[T], files: list[Path]) -> T:
    """The configuration in ``files``; ends the process with all its errors where there are any."""
    try:
        return config.load(schema, files).value
    except config.ConfigError as error:
        service.end(str(error), BROKEN_CONFIG)


def argument(parse: Callable[[str], T]) -> Callable[[str], T]:
    """A parser of config for use as ``type`` of an argument: its error says what would be right."""

    def parsed(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} {error}") from None

    return parsed


def add_config(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    schema: type[Any],
    files: Callable[[argparse.Namespace], list[Path]],
) -> argparse.ArgumentParser:
    """Adds ``config show|check`` to a command line. ``files`` names what to read, from the arguments."""
    parser = commands.add_parser("config", help="show or check the configuration")
    parser.add_argument("action", choices=("show", "check"))

    def run(arguments: argparse.Namespace) -> None:
        try:
            loaded = config.load(schema, files(arguments))
        except config.ConfigError as error:
            service.end(str(error), BROKEN_CONFIG)
        if arguments.action == "show":
            print(config.show(loaded), end="")

    parser.set_defaults(run=run)
    return parser
