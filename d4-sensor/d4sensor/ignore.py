"""Events that an administrator does not want to see: by source, destination, trail or the whole line."""

from __future__ import annotations

import re
from collections.abc import Iterable

from d4common.event import Event
from d4sensor.whitelist import Whitelist


class Ignore:
    """Which events are not wanted.

    ``sources`` and ``destinations`` are addresses and networks. ``trails`` are texts of trails, in which
    ``*`` stands for anything; an event's is compared as it is and without its parentheses, so that
    ``evil.tld`` and ``*.evil.tld`` mean what they seem to. ``pattern`` is searched in the event's line.
    Neither minds case, if the pattern was compiled so.
    """

    def __init__(
        self,
        sources: Iterable[str] = (),
        destinations: Iterable[str] = (),
        trails: Iterable[str] = (),
        pattern: re.Pattern[str] | None = None,
    ) -> None:
        sources, destinations, trails = tuple(sources), tuple(destinations), tuple(trails)
        self._sources = Whitelist(sources) if sources else None
        self._destinations = Whitelist(destinations) if destinations else None
        self._trails = _any_of(trails) if trails else None
        self._pattern = pattern
        self._wants_all = not (sources or destinations or trails or pattern)

    def ignores(self, event: Event) -> bool:
        """Whether nobody wants to see this event."""
        if self._wants_all:
            return False
        if self._sources and any(map(self._sources.holds, event.src_ip.split(","))):
            return True
        if self._destinations and self._destinations.holds(event.dst_ip):
            return True
        if self._trails and any(map(self._trails.fullmatch, (event.trail, _plain(event.trail)))):
            return True
        return self._pattern is not None and self._pattern.search(event.line()) is not None


def _any_of(trails: Iterable[str]) -> re.Pattern[str]:
    forms = (".*".join(map(re.escape, trail.split("*"))) for trail in trails)
    return re.compile("|".join(forms), re.IGNORECASE)


_PARENTHESES = str.maketrans("", "", "()")


def _plain(trail: str) -> str:
    return trail.translate(_PARENTHESES)
