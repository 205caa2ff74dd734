"""The commands about trails: update, trails and lookup."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from d4common import command, service
from d4sensor import compiled, daemon
from d4sensor.config import SensorConfig
from d4sensor.config import Trails as Settings
from d4sensor.indicator import IndicatorError
from d4sensor.trails import TrailError

# What only these commands need is imported where they run: the daemon starts without it.

Files = Callable[[argparse.Namespace], list[Path]]

MOST_PROBLEMS = 20
"""Problems that are printed one by one."""

FEEDS = Path("/etc/d4/feeds.d")
"""Where the site says which feeds it wants."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser], files: Files) -> None:
    """Adds the commands to a command line. ``files`` names the configuration, from the arguments."""

    def settings(arguments: argparse.Namespace) -> Settings:
        return command.load_or_end(SensorConfig, files(arguments)).trails

    updating = commands.add_parser("update", help="fetch the feeds and compile all trails into one file")
    updating.add_argument("--offline", action="store_true", help="fetch nothing: compile what is there")
    updating.add_argument("--allow-shrink", action="store_true", help="take a set of any size, even none")
    updating.add_argument("--ca", type=Path, help="PEM file that takes the place of the system's CAs")
    updating.set_defaults(run=lambda arguments: _update(settings(arguments), arguments))

    listing = commands.add_parser("trails", help="show where trails come from, choose feeds")
    actions = listing.add_subparsers(required=True, metavar="ACTION")
    showing = actions.add_parser("list", help="all feeds, with trails, age and errors")
    showing.set_defaults(run=lambda arguments: _list(settings(arguments)))
    stats = actions.add_parser("stats", help="how many trails each source gave, and what was left out")
    stats.set_defaults(run=lambda arguments: _stats(settings(arguments)))
    for name in ("enable", "disable"):
        choosing = actions.add_parser(name, help=f"{name} a feed from the next update on")
        choosing.add_argument("feed")
        choosing.add_argument("--directory", type=Path, default=FEEDS, help=argparse.SUPPRESS)
        choosing.set_defaults(
            run=lambda arguments, on=name == "enable": _choose(settings(arguments), arguments, on)
        )

    looking = commands.add_parser("lookup", help="what is known about a name, an address, an endpoint, a URL")
    looking.add_argument("indicator")
    looking.set_defaults(run=lambda arguments: _lookup(settings(arguments), arguments.indicator))


def _update(settings: Settings, arguments: argparse.Namespace) -> None:
    """d4-sensor update"""
    from d4sensor import update

    try:
        update.become_owner(settings.compiled)
        report = update.update(settings, arguments.offline, arguments.allow_shrink, arguments.ca)
    except (TrailError, update.Refused, OSError) as error:
        service.end(str(error))
    for problem in report.problems[:MOST_PROBLEMS]:
        print(problem, file=sys.stderr)
    if more := report.problems[MOST_PROBLEMS:]:
        print(f"… and {len(more)} problems more", file=sys.stderr)
    print(f"{report.trails} trails in {settings.compiled}")


def _list(settings: Settings) -> None:
    """d4-sensor trails list"""
    from d4sensor import feeds, update

    known, problems = feeds.load(settings.feeds)
    store, counts = update.store_of(settings), _about(settings).get("sources", {})
    print(f"{'FEED':20} {'STATE':9} {'ENTRIES':>9} {'AGE':>6}  ERROR")
    for feed in known:
        state = store.state(feed)
        print(
            f"{feed.name:20} {'enabled' if feed.enabled else 'disabled':9} "
            f"{counts.get(f'feed {feed.name}', 0):9} {_age(state.checked):>6}  {state.error}".rstrip()
        )
    for problem in problems:
        print(problem, file=sys.stderr)


def _stats(settings: Settings) -> None:
    """d4-sensor trails stats"""
    about = _about(settings)
    if not about:
        service.end(f"{settings.compiled} is not there yet: d4-sensor update makes it")
    print(f"{len(compiled.open_(settings.compiled)):9} trails, compiled {_age(about['made'])} ago, from")
    for source, count in sorted(about["sources"].items(), key=lambda item: (-item[1], item[0])):
        print(f"{count:9} {source}")
    if about["dropped"]:
        print("left out:")
        for reason, count in about["dropped"].items():
            print(f"{count:9} {reason}")


def _choose(settings: Settings, arguments: argparse.Namespace, on: bool) -> None:
    """d4-sensor trails enable, disable"""
    from d4sensor import feeds

    known, _ = feeds.load([*settings.feeds, arguments.directory])
    if arguments.feed not in {feed.name for feed in known}:
        service.end(f"there is no feed {arguments.feed}; `d4-sensor trails list` names them")
    path = arguments.directory / f"{arguments.feed}.toml"
    try:
        lines = path.read_text().splitlines() if path.exists() else []
        kept = [line for line in lines if line.partition("=")[0].strip() != "enabled"]
        path.write_text("\n".join([*kept, f"enabled = {str(on).lower()}"]) + "\n")
    except OSError as error:
        service.end(f"{path} cannot be written: {error.strerror}")
    print(f"{path} written; systemctl start d4-sensor-update makes it so")


def _lookup(settings: Settings, indicator: str) -> None:
    """d4-sensor lookup; exit status 1 where nothing is known."""
    from d4sensor import lookup

    trails = daemon.load_trails(settings)
    try:
        answers = lookup.lookup(indicator, trails)
    except IndicatorError as error:
        service.end(str(error))
    for answer in answers:
        print(answer)
    if not answers:
        service.end(f"{indicator}: nothing is known by {len(trails)} trails, or it is whitelisted")


def _about(settings: Settings) -> dict[str, Any]:
    """What is written about the compiled file; nothing where there is none."""
    try:
        return compiled.about(settings.compiled)
    except FileNotFoundError:
        return {}
    except TrailError as error:
        service.end(str(error))


def _age(since: float) -> str:
    """The time since then, as people say it: ``3h``; a dash for never."""
    seconds = time.time() - since
    if not since:
        return "-"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{max(0, seconds):.0f}s"
