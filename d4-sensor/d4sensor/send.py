"""The command `d4-sensor send`: a source of /etc/d4/sources.d, or standard input, to the server."""

from __future__ import annotations

import argparse
import logging
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from d4common import command, config, service
from d4common.config import ConfigError, Endpoint, Proxy
from d4sensor import goclient, ship
from d4sensor.config import D4, SensorConfig
from d4sensor.source import SourceError, daemon
from d4sensor.source.daemon import Job, NotSent
from d4sensor.source_config import Source, SourceConfig, d4_type, meta_header
from d4sensor.spoolfile import SpoolError

log = logging.getLogger(__name__)

T = TypeVar("T")

Files = Callable[[argparse.Namespace], list[Path]]

SOURCES = Path("/etc/d4/sources.d")
"""Where each source has a file."""

TOR = Proxy(Endpoint("127.0.0.1", 9050))


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser], files: Files) -> None:
    """Adds the command to a command line. ``files`` names the sensor's configuration, from the arguments."""
    parser = commands.add_parser(
        "send",
        usage="d4-sensor send [--show] NAME | --type N [OPTIONS] | -c DIR [OPTIONS]",
        help="send standard input, or another source, to the server",
        description="Sends the source NAME of /etc/d4/sources.d, or standard input to its end, as type N. "
        "With -c, what d4-goclient would send with its configuration DIR; its flags are understood.",
    )
    parser.add_argument("name", nargs="?", type=command.argument(_name), help="source: NAME.conf")
    parser.add_argument("--show", action="store_true", help="print the source's configuration, send nothing")
    parser.add_argument("--type", type=command.argument(d4_type), help="D4 type of standard input")
    parser.add_argument(
        "--metaheader", type=command.argument(_meta_header), help="for type 254: JSON or a file"
    )
    parser.add_argument("--destination", type=command.argument(config.endpoints(4443)), help="HOST:PORT")
    parser.add_argument("--ca", type=Path, help="CA of the server's certificate, a PEM file")
    parser.add_argument("--insecure", action="store_true", help="send to whoever answers")
    parser.add_argument("-c", dest="directory", type=Path, help="configuration directory of d4-goclient")
    _add_flags_of_goclient(parser)

    def run(arguments: argparse.Namespace) -> None:
        _refuse_contradictions(parser, arguments)
        try:
            if arguments.show:
                print(config.show(config.load(SourceConfig, _source_files(arguments))), end="")
                return
            _tell_ignored(arguments)
            job = _job(arguments, files(arguments) if arguments.directory is None else [])
        except ConfigError as error:
            service.end(str(error), command.BROKEN_CONFIG)
        except ship.NoIdentity as error:
            service.end(str(error))
        try:
            service.run(partial(daemon.run, job))
        except (SourceError, SpoolError, NotSent) as error:
            service.end(str(error))

    parser.set_defaults(run=run)


def _add_flags_of_goclient(parser: argparse.ArgumentParser) -> None:
    """Flags that are written ``-flag``, ``-flag=value`` or, where they take one, ``-flag value``."""
    boolean = command.argument(config.boolean)
    for name in ("-ce", "-tor", "-json", "-daily"):
        parser.add_argument(
            name, nargs="?", type=boolean, const=True, default=name == "-ce", help=argparse.SUPPRESS
        )
    for name in ("-cc", "-v"):
        parser.add_argument(name, nargs="?", const="", help=argparse.SUPPRESS)
    for name in ("-ct", "-cka", "-rt", "-rl"):
        parser.add_argument(name, help=argparse.SUPPRESS)


def _refuse_contradictions(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    ways = [arguments.name, arguments.type, arguments.directory]
    if sum(way is not None for way in ways) != 1:
        parser.error("say what is to be sent: one of NAME, --type N and -c DIR")
    if arguments.show and arguments.name is None:
        parser.error("--show is for a source with a NAME")
    others = ("metaheader", "destination", "ca", "insecure")
    if arguments.name is not None and any(getattr(arguments, other) for other in others):
        parser.error("the source NAME is described by its file, and by sensor.conf, alone")
    if arguments.directory is not None and arguments.metaheader is not None:
        parser.error("with -c DIR the meta header is that of DIR/metaheader.json")
    if not arguments.ce:
        parser.error("-ce=false: d4-sensor sends over TLS only")
    if arguments.daily:
        parser.error("-daily: d4-sensor reads one folder; let it be changed at midnight, or use kind = file")


def _tell_ignored(arguments: argparse.Namespace) -> None:
    """The server is verified anyway, and times need no tuning here."""
    ignored = [
        f"-{flag}" for flag in ("cc", "ct", "cka", "rt", "rl", "v") if getattr(arguments, flag) is not None
    ]
    if ignored:
        log.info("without effect here: %s", ", ".join(ignored))


def _job(arguments: argparse.Namespace, files: list[Path]) -> Job:
    """What the command line asks for. Raises ConfigError, NoIdentity."""
    if arguments.directory is not None:
        d4, source, sender = goclient.read(arguments.directory, arguments.json)
        d4 = _adapted(d4, arguments)
        _refuse_missing_ca(d4)
        return Job(source, d4, sender)
    settings, source = _loaded(files, _source_files(arguments) if arguments.name else [])
    if arguments.type is not None:
        source = Source("stdin", arguments.type, arguments.metaheader)
        if problems := list(source.problems()):
            raise ConfigError(problems)
    d4 = _adapted(settings.d4, arguments)
    sender = ship.sender(d4, source.data_type, source.metaheader)
    return Job(source, d4, sender, settings.spool, arguments.name)


def _loaded(files: list[Path], source_files: list[Path]) -> tuple[SensorConfig, Source]:
    """Both configurations. Raises ConfigError with what is wrong in either."""
    problems: list[str] = []

    def load(schema: type[T], paths: list[Path]) -> T:
        try:
            return config.load(schema, paths).value
        except ConfigError as error:
            problems.extend(error.problems)
            return schema()

    settings = load(SensorConfig, files)
    source = load(SourceConfig, source_files) if source_files else SourceConfig()
    if problems:
        raise ConfigError(problems)
    return settings, source.source


def _adapted(d4: D4, arguments: argparse.Namespace) -> D4:
    """Where to, with what the command line says about it."""
    return replace(
        d4,
        destination=arguments.destination or d4.destination,
        ca=arguments.ca or d4.ca,
        verify=d4.verify and not arguments.insecure,
        proxy=TOR if arguments.tor else d4.proxy,
    )


def _refuse_missing_ca(d4: D4) -> None:
    """d4-goclient would send to whoever answers; here that must be said."""
    if d4.verify and not d4.ca.exists():
        raise ConfigError(
            [
                f"{d4.ca} is not there, by which the server would be known: put the CA of the server's "
                "certificate there, or name it by --ca FILE; --insecure sends to whoever answers"
            ]
        )


def _source_files(arguments: argparse.Namespace) -> list[Path]:
    """The file of a source and its drop-ins: of one in sources.d beside the sensor's configuration."""
    directory = arguments.config.parent / "sources.d" if arguments.config else SOURCES
    return config.files_of(directory / f"{arguments.name}.conf")


def _name(text: str) -> str:
    """What a file, a directory and a unit can be called."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", text):
        raise ValueError("is no name of a source, which has letters, digits, - and _")
    return text


def _meta_header(text: str) -> dict[str, Any]:
    """A meta header, or the path of a file with one, from wherever the shell is."""
    return meta_header(text if text.startswith("{") else str(Path(text).absolute()))
