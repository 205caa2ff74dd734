"""DNS exhaustion: more different names below one domain than anybody needs, so that its servers go down."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

import numpy as np

from d4sensor import heuristics
from d4sensor.headers import Positions
from d4sensor.judges import Verdict
from d4sensor.judges.dns_names import bracketed, is_judged
from d4sensor.judges.dns_rows import Names, Suffixes, texts
from d4sensor.judges.dns_tally import heaviest
from d4sensor.judges.dns_waiting import SLOTS, Slots, Waiting
from d4sensor.trails import Trails

THRESHOLD = 1000
"""Different names below a domain within WINDOW that are too many (Maltrail's DNS_EXHAUSTION_THRESHOLD)."""

WINDOW = 60
"""Seconds in which they are counted."""

SILENCE = 3600
"""Seconds after an event in which none follows for the same domain."""

MAX_NAMES = 50_000
"""Names that are held, of all domains. Under a flood of domains those with the most names stay."""

MAX_TOLD = 10_000
"""Domains whose silence is remembered."""


class DnsExhaustion:
    """Counts names by their domain; what it has seen outlives a reload of trails.

    The windows are those of the clock by which packets were captured, one after the other. Most domains
    never have many names: theirs wait until it looks different.
    """

    def __init__(self, disabled: frozenset[str] = frozenset()) -> None:
        self._disabled = "dns_exhaustion" in disabled
        self._begun = 0
        self._held = 0
        self._waiting = Waiting()
        self._names: dict[str, set[str]] = {}
        self._told: dict[str, int] = {}

    def among(
        self, names: Names, suffixes: Suffixes, seconds: Positions, trails: Trails
    ) -> Iterator[tuple[int, Verdict]]:
        """The verdicts on some of many names, that were not asked for lately, and the places of these.

        ``names`` are Names.of_hosts, ``seconds`` are when they were asked for.
        """
        if self._disabled:
            return
        places, slots = _below_domains(names, suffixes)
        while len(places):
            self._begin_window(int(seconds[places[0]]))
            beyond = np.flatnonzero(abs(seconds[places] - self._begun) >= WINDOW)
            end = beyond[0] if len(beyond) else len(places)
            yield from self._add(places[:end], slots[:end], names, seconds, trails)
            places, slots = places[end:], slots[end:]

    def of(self, name: str, second: int, trails: Trails) -> Verdict | None:
        """The verdict on a name that was not asked for lately; ``second`` is when it was."""
        domain = _domain(name)
        if self._disabled or domain == name:
            return None
        self._begin_window(second)
        self._count_waiting(np.array([zlib.crc32(domain.encode()) % SLOTS]))
        if self._count(name, domain) < THRESHOLD:
            return None
        return self._exhausted(name, domain, second, trails)

    def _begin_window(self, second: int) -> None:
        # What was asked before it, but is told later, counts too: long names come behind short ones.
        if abs(second - self._begun) >= WINDOW:
            self._begun, self._held, self._names = second, 0, {}
            self._waiting.forget()

    def _add(
        self, places: Positions, slots: Slots, names: Names, seconds: Positions, trails: Trails
    ) -> Iterator[tuple[int, Verdict]]:
        """Lets the names at these places wait, or counts them where it is time for that."""
        many = self._waiting.add(names.rows[places], slots)
        if not len(many):
            return
        self._count_waiting(slots[many])
        places = places[many]
        for place, name in zip(places.tolist(), texts(names.rows[places]), strict=True):
            verdict = self.of(name, int(seconds[place]), trails) if is_judged(name) else None
            if verdict:
                yield place, verdict

    def _count_waiting(self, slots: Slots) -> None:
        """Counts the names of these slots that have waited until now."""
        for name in filter(is_judged, self._waiting.leave(slots)):
            self._count(name, _domain(name))

    def _count(self, name: str, domain: str) -> int:
        """Counts a name; how many its domain has if it is a new one, else 0."""
        if self._held >= MAX_NAMES:
            self._names = heaviest(self._names, MAX_NAMES // 2)
            self._held = sum(map(len, self._names.values()))
        names = self._names.setdefault(domain, set())
        if name in names:
            return 0
        names.add(name)
        self._held += 1
        return len(names)

    def _exhausted(self, name: str, domain: str, second: int, trails: Trails) -> Verdict | None:
        """The verdict where a domain has too many names, once those are left out that are usual."""
        names = {each for each in self._names[domain] if not _USUAL.search(each)}
        if len(names) < THRESHOLD:
            self._keep(domain, names)
            return None
        self._keep(domain, set())
        if 0 <= second - self._told.get(domain, -SILENCE) < SILENCE or trails.whitelisted(domain):
            return None
        if len(self._told) >= MAX_TOLD:
            self._told.clear()
        self._told[domain] = second
        return Verdict("DNS", bracketed(name, 2), heuristics.trail("potential dns exhaustion (suspicious)"))

    def _keep(self, domain: str, names: set[str]) -> None:
        self._held -= len(self._names[domain]) - len(names)
        self._names[domain] = names


# Names of addresses, lists of spammers, and what hosts ask for on their own in any domain.
_USUAL = re.compile(r"\A\d+-\d+-\d+-\d+\.|bl\b|wpad|autodiscover|_ldap\._tcp")


def _domain(name: str) -> str:
    """The domain that somebody registered, as far as a name shows it.

    It has two labels, or three where the second to last has up to three characters.
    """
    labels = name.rsplit(".", 2)
    if len(labels) < 3:
        return name
    prefix, second, top = labels
    if len(second) > 3:
        return f"{second}.{top}"
    return f"{prefix.rpartition('.')[2]}.{second}.{top}"


def _below_domains(names: Names, suffixes: Suffixes) -> tuple[Positions, Slots]:
    """The places of names that are below a domain, and the slots of these domains."""
    second_to_last = suffixes.last - 1
    size = suffixes.start[suffixes.last] - suffixes.start[second_to_last] - 1
    domain = second_to_last - (size <= 3)
    below = np.flatnonzero(domain > suffixes.last + 1 - names.labels)
    return below, suffixes.sum[domain[below]].astype(np.intp) % SLOTS
