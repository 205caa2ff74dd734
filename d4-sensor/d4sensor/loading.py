"""Which trails are in force: the compiled file where there is one, else what the paths hold."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from d4sensor import compiled, sources
from d4sensor.compiled import OtherLayout
from d4sensor.config import Trails as Settings
from d4sensor.judges import user_agents
from d4sensor.sources import Problem
from d4sensor.trails import TrailError, Trails


def load(settings: Settings) -> tuple[Trails, list[Problem]]:
    """The trails in force, and the lines that hold none. Raises TrailError.

    A file that another version has compiled counts as none, until it is compiled again.
    """
    try:
        return compiled.open_(settings.compiled), []
    except (FileNotFoundError, OtherLayout):
        return load_paths(settings, settings.path)


def whitelist_and_agents(settings: Settings, problems: list[Problem]) -> tuple[list[str], list[str]]:
    """The whitelist, and the patterns for User-Agents, that files hold. Raises TrailError."""
    agents, wrong = user_agents.load(str(path) for path in settings.user_agents if path.exists())
    problems += wrong
    return sources.texts(path for path in settings.whitelist if path.exists()), list(agents)


def load_paths(settings: Settings, paths: Sequence[Path]) -> tuple[Trails, list[Problem]]:
    """The trails in files and directories, or in one compiled file (``.mdb``). Raises TrailError."""
    if len(paths) == 1 and paths[0].suffix == ".mdb":
        try:
            return compiled.open_(paths[0]), []
        except FileNotFoundError as error:
            raise TrailError(str(error)) from None
    problems: list[Problem] = []
    loaded, more = sources.load(map(str, paths), *whitelist_and_agents(settings, problems))
    return loaded, problems + more


def version(settings: Settings) -> tuple[int, int]:
    """Which compiled file there is, by inode and time; zeros where there is none."""
    try:
        status = settings.compiled.stat()
    except OSError:
        return 0, 0
    return status.st_ino, status.st_mtime_ns


def is_stale(settings: Settings) -> bool:
    """Whether what was compiled has changed since, or is gone, or another version has compiled it."""
    try:
        about = compiled.about(settings.compiled)
    except OtherLayout:
        return True
    except (FileNotFoundError, TrailError):
        return False
    paths, made = paths_of(settings), about.get("made", 0.0)
    return about.get("paths") != paths or any(_newest(path) > made for path in map(Path, paths))


def paths_of(settings: Settings) -> list[str]:
    """All that is read for trails, but for the copies of feeds."""
    places = (settings.path, settings.whitelist, settings.user_agents, settings.feeds)
    return [str(path) for place in places for path in place]


def _newest(path: Path) -> float:
    """When a file, or anything in a directory, last changed."""
    with suppress(OSError):
        return max((each.stat().st_mtime for each in (path, *path.rglob("*"))), default=0.0)
    return 0.0
