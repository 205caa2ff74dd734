"""DNS exhaustion: more different names below one domain than anybody needs, so that its servers go down."""

from __future__ import annotations

import re

from d4sensor import heuristics
from d4sensor.judges import Verdict
from d4sensor.judges.dns_names import bracketed
from d4sensor.judges.dns_tally import heaviest
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

    The windows are those of the clock by which packets were captured, one after the other.
    """

    def __init__(self, disabled: frozenset[str] = frozenset()) -> None:
        self._disabled = "dns_exhaustion" in disabled
        self._begun = 0
        self._held = 0
        self._names: dict[str, set[str]] = {}
        self._told: dict[str, int] = {}

    def of(self, name: str, second: int, trails: Trails) -> Verdict | None:
        """The verdict on a name that was not asked for lately; ``second`` is when it was."""
        if self._disabled:
            return None
        if not 0 <= second - self._begun < WINDOW or self._held >= MAX_NAMES:
            self._forget(second)
        domain = _domain(name)
        if domain == name:
            return None
        names = self._names.get(domain)
        if names is None:
            self._names[domain] = {name}
            self._held += 1
        elif name not in names:
            names.add(name)
            self._held += 1
            if len(names) >= THRESHOLD:
                return self._exhausted(name, domain, second, trails)
        return None

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

    def _forget(self, second: int) -> None:
        """Begins a new window, or makes room in this one."""
        if 0 <= second - self._begun < WINDOW:
            self._names = heaviest(self._names, MAX_NAMES // 2)
        else:
            self._begun, self._names = second, {}
        self._held = sum(map(len, self._names.values()))


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
