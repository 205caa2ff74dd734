"""The commands that every daemon has: ``config show`` and ``config check``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from d4common import config, service

T = TypeVar("T")

BROKEN_CONFIG = 78
"""Exit status (EX_CONFIG of sysexits.h) by which systemd knows that another try is no use."""


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
