"""Answers that there is no such domain: too many of them, or for names that an algorithm has made."""

from __future__ import annotations

import math
from collections.abc import Iterator

from d4sensor import heuristics
from d4sensor.judges import Verdict
from d4sensor.judges.dns_names import MAX_TEXT, bracketed, is_listed
from d4sensor.judges.dns_tally import heaviest
from d4sensor.trails import Trails

MOST = 20
"""Answers in a clock hour for one name, or below one domain (Maltrail's NO_SUCH_NAME_PER_HOUR_THRESHOLD)."""

MOST_ENTROPY = 3.5
"""Bits per character of a label (Maltrail's SUSPICIOUS_DOMAIN_ENTROPY_THRESHOLD)."""

MOST_CONSONANTS = 9
"""Consonants of a label (Maltrail's SUSPICIOUS_DOMAIN_CONSONANT_THRESHOLD)."""

MAX_ANSWERS = 50_000
"""Answers that are held. Under a flood of names those with the most answers stay."""


class NoSuchDomain:
    """Counts names that do not exist; what it has seen outlives a reload of trails."""

    def __init__(self, disabled: frozenset[str] = frozenset()) -> None:
        self._counts = "no_such_domain" not in disabled
        self._looks = "dga" not in disabled
        self._hour = 0
        self._held = 0
        self._names: dict[str, list[str]] = {}

    def of(self, name: str, second: int, trails: Trails) -> Iterator[Verdict]:
        """The verdicts on a name, which dns_names.is_judged, that a resolver says does not exist.

        ``second`` is when it said so. Names that are listed, whitelisted or not meant as names are left out.
        """
        if _no_name(name) or is_listed(name, trails) or trails.whitelisted(name):
            return
        excessive = self._excessive(name, second) if self._counts else ""
        if excessive:
            yield Verdict("DNS", excessive, heuristics.trail("excessive no such domain (suspicious)"))
        made = _made(name) if self._looks else ""
        if made:
            yield Verdict("DNS", bracketed(name, 1), heuristics.trail(made))

    def _excessive(self, name: str, second: int) -> str:
        """What there were too many answers for: the name, its domain, or nothing."""
        if second // 3600 != self._hour:
            self._hour, self._held, self._names = second // 3600, 0, {}
        if self._held >= MAX_ANSWERS:
            self._names = heaviest(self._names, MAX_ANSWERS // 2)
            self._held = sum(map(len, self._names.values()))
        labels = name.rsplit(".", 2)
        domain = f".{labels[-2]}.{labels[-1]}" if len(labels) > 2 else ""
        own = self._count(name, name)
        below = self._count(domain, name) if domain else []
        if len(own) > MOST:
            self._begin_anew(name, domain)
            return name
        if len(below) > MOST:
            self._begin_anew(domain, *below)
            prefixes = ",".join(sorted({each.removesuffix(domain) for each in below}))
            return f"({prefixes[: MAX_TEXT - len(domain) - 2]}){domain}"
        return ""

    def _count(self, key: str, name: str) -> list[str]:
        """Counts an answer; the names of all that were counted under the same key."""
        names = self._names.setdefault(key, [])
        names.append(name)
        self._held += 1
        return names

    def _begin_anew(self, *keys: str) -> None:
        for key in keys:
            self._held -= len(self._names.pop(key, ()))


_CONSONANTS = frozenset("bcdfghjklmnpqrstvwyxz")


def _no_name(name: str) -> bool:
    """Whether it is an address: on its own, or before the name of a list of addresses."""
    labels = name.split(".")
    if labels[-1].isdigit():
        return True
    return len(labels) > 4 and all(label.isdigit() and int(label) < 256 for label in labels[:4])


def _made(name: str) -> str:
    """What betrays that an algorithm has made a name of two labels, if anything does."""
    label, _, rest = name.partition(".")
    if not label or "-" in label or "." in rest:
        return ""
    shares = [label.count(character) / len(label) for character in set(label)]
    if -sum(share * math.log2(share) for share in shares) > MOST_ENTROPY:
        return "entropy threshold no such domain (suspicious)"
    if sum(character in _CONSONANTS for character in label) > MOST_CONSONANTS:
        return "consonant threshold no such domain (suspicious)"
    return ""
