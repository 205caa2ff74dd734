"""The commands that are made of the operations: a room is a command, a verb an action; see operations.

Who may use them may read the configuration and Redis, and so do everything: they act as root, on this host.
"""

from __future__ import annotations

import argparse
import json
import signal
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d4common import command
from d4server.as_root import given, operate_or_end
from d4server.config import ServerConfig
from d4server.status_command import table, time_of

if TYPE_CHECKING:
    from d4server.operations import Operation
    from d4server.operations.operation import Parameter

# What only these commands need is imported where they run: systemd waits for another one at every reload.

Files = Callable[[argparse.Namespace], list[Path]]

ROOMS = {
    "overview": "show what came, who is there, what was refused and what waits",
    "groups": "show or change groups of sensors",
    "enrolment": "show, make or withdraw tokens by which sensors get in",
    "queues": "show, make or change analyzer queues",
    "types": "show or change which types of data are accepted",
    "users": "show or change who may use the page",
    "tokens": "show, make or revoke tokens for the API",
    "audit": "show who has changed what",
}
"""Commands that are operations alone, and what they are for."""

TIMES = frozenset(
    ("added", "certificate_end", "created", "ended", "expires", "first", "first_seen", "last", "last_login")
    + ("last_used", "now", "seen", "since", "stored", "time")
)
"""Names of fields that are times in seconds since the epoch, where they are numbers."""

WHOLE_PAGE = 200
"""Items that are asked for at once where all are to be shown."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser], files: Files) -> None:
    """Adds the commands to a command line. ``files`` names the configuration, from the arguments."""
    for room, help in ROOMS.items():
        parser = commands.add_parser(room, help=help)
        actions = parser.add_subparsers(metavar="ACTION")
        parser.set_defaults(run=lambda _, parser=parser: parser.error("name an action: see --help"))
        extend(parser, actions, room, files)


def extend(
    parser: argparse.ArgumentParser,
    actions: argparse._SubParsersAction[argparse.ArgumentParser],
    room: str,
    files: Files,
) -> None:
    """Adds to a command the operations of a room that it does not have yet, when it is used."""
    command.later(parser, partial(_add_verbs, actions, room, files))


def _add_verbs(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],
    room: str,
    files: Files,
    parser: argparse.ArgumentParser,
) -> None:
    from d4server.operations import all_operations

    for name, operation in all_operations().items():
        verb = name.partition(".")[2].replace("_", "-")
        if name.partition(".")[0] != room or verb in actions.choices:
            continue
        help = operation.summary.rstrip(".")
        acting = actions.add_parser(verb, help=help[:1].lower() + help[1:], description=operation.summary)
        for parameter in operation.parameters:
            _add_argument(acting, parameter)
        acting.add_argument(
            "--json", action="store_true", help="print JSON, an object a line", dest="as_json"
        )
        acting.set_defaults(run=partial(_run, files, operation))
        if verb in ("list", "show") and not any(each.required for each in operation.parameters):
            parser.set_defaults(**vars(acting.parse_args([])))


def _add_argument(parser: argparse.ArgumentParser, parameter: Parameter) -> None:
    """Adds what an operation takes; what is secret comes by a file, since others see a command line."""
    kind, name = parameter.kind, parameter.name.replace("_", "-")
    label = kind.label or parameter.name
    if kind.secret:
        help = f"{label}: what is in FILE; - reads it from standard input"
        parser.add_argument(
            f"--{name}-file", metavar="FILE", dest=parameter.name, help=help, required=parameter.required
        )
        return
    options: dict[str, Any] = {"type": command.argument(partial(_checked, kind.take)), "help": label}
    if kind.choices:
        options["metavar"] = "|".join(each for each in kind.choices if not each.startswith("-")) or None
    if parameter.required:
        parser.add_argument(parameter.name, **options)
    else:
        parser.add_argument(f"--{name}", dest=parameter.name, **options)


def _checked(take: Callable[[str], Any], text: str) -> str:
    take(text)
    return text


def _run(files: Files, operation: Operation, arguments: argparse.Namespace) -> None:
    """Does it, and prints what came of it: nothing, of what only had to be done."""
    settings = command.load_or_end(ServerConfig, files(arguments))
    values = {
        each.name: given(value, each.name).decode(errors="replace") if each.kind.secret else value
        for each in operation.parameters
        if (value := getattr(arguments, each.name)) is not None
    }
    result = _whole(settings, operation, values)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # whoever reads may have seen enough
    for line in _as_json(result) if arguments.as_json else lines(result):
        print(line)


def _whole(settings: ServerConfig, operation: Operation, values: Mapping[str, Any]) -> Any:
    """The result as JSON has it; of pages all, unless one was asked for."""
    from d4server.operations import Page
    from d4server.operations.results import to_json

    if "size" not in {each.name for each in operation.parameters} or {"page", "size"} & values.keys():
        result = operate_or_end(settings, operation.name, **values)
        return to_json(result.items if isinstance(result, Page) else result)
    items: list[Any] = []
    while True:
        page = len(items) // WHOLE_PAGE + 1
        found = operate_or_end(settings, operation.name, **values, page=page, size=WHOLE_PAGE)
        items += found.items
        if len(found.items) < WHOLE_PAGE:
            return to_json(items)


def _as_json(result: Any) -> Iterator[str]:
    if result is not None:
        yield from map(json.dumps, result if isinstance(result, list) else [result])


def lines(result: Any) -> Iterator[str]:
    """What an operation gives, for people: a table of a list, a line for each field of anything else."""
    if isinstance(result, list):
        yield from _table(result)
    elif isinstance(result, dict):
        yield from _fields(result)
    elif result is not None:
        yield str(result)


def _fields(result: Mapping[str, Any]) -> Iterator[str]:
    tables = {name: value for name, value in result.items() if value and _is_table(value)}
    plain = {name: value for name, value in result.items() if name not in tables}
    width = max(map(len, plain), default=0)
    for name, value in plain.items():
        yield f"{name.replace('_', ' '):{width}}  {_cell(name, value)}".rstrip()
    for name, rows in tables.items():
        yield ""
        yield f"{name.replace('_', ' ')}:"
        yield from _table(rows)


def _table(rows: list[Any]) -> Iterator[str]:
    if not _is_table(rows):
        yield from map(str, rows)
        return
    head = tuple(name.upper().replace("_", " ") for name in rows[0])
    yield from table(head, [[_cell(name, value) for name, value in row.items()] for row in rows])


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _cell(name: str, value: Any) -> str:
    """A value in a line of text."""
    if value is None or value == "" or value == [] or value == {}:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{_cell('', each)} {inner}" for inner, each in value.items())
    if isinstance(value, list):
        return ", ".join(_cell("", each) for each in value)
    if name in TIMES and isinstance(value, int | float):
        return time_of(value) if value else "-"
    if isinstance(value, float):
        return f"{value:.1f}"
    return " ".join(str(value).split("\n"))
