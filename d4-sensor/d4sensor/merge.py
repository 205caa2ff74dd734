"""Which of several sources decides about an indicator, and what is left out: the rules of docs/trails.md."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address

from d4sensor.addresses import Network
from d4sensor.trails import Entry, Trail
from d4sensor.whitelist import Whitelist

OWN = ("(custom)", "(static)")
"""References of trails that people chose one by one; all others come from feeds."""

CUSTOM = OWN[0]
MAX_PATTERNS = 100


@dataclass
class Merged:
    """What is left: trails by key, the networks and the patterns among the keys, and what went why."""

    entries: dict[str, Trail] = field(default_factory=dict)
    networks: dict[str, Network] = field(default_factory=dict)
    patterns: list[str] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)


def merge(entries: Iterable[Entry], whitelist: Whitelist | None = None, minimum_feeds: int = 1) -> Merged:
    """One trail for each indicator; ``entries`` has those of feeds first, then those that decide last.

    An IPv4 address that only feeds name is a trail if ``minimum_feeds`` of them do.
    """
    merged = Merged()
    found, networks = merged.entries, merged.networks
    references: dict[str, set[str]] = {}
    for (key, network, pattern), trail in entries:
        if (pattern or key.isalpha()) and trail.reference not in OWN:
            merged.dropped["patterns and single words of feeds"] += 1
            continue
        known = found.get(key)
        if known is None:
            if pattern:
                if len(merged.patterns) == MAX_PATTERNS:
                    merged.dropped[f"patterns beyond {MAX_PATTERNS}"] += 1
                    continue
                merged.patterns.append(key)
            elif network:
                networks[key] = network
            found[key] = trail
            continue
        if known.reference != trail.reference:
            references.setdefault(key, {known.reference}).add(trail.reference)
        if overrides(trail, known):
            found[key] = trail
    _agree(merged, references, minimum_feeds)
    _leave_out(merged, whitelist or Whitelist())
    return merged


def overrides(trail: Trail, known: Trail) -> bool:
    """Whether a trail takes the place of what an earlier source says about the same indicator."""
    if any(word in trail.info for word in _ALWAYS):
        return True
    if trail.reference in OWN:
        return "history" not in trail.info
    return known.reference not in OWN and not any(word in trail.info for word in _NEVER)


_ALWAYS = ("mass scanner", "ipinfo")
_NEVER = [
    *("reputation", "attacker", "spammer", "abuser", "malicious"),
    *("dnspod", "nicru", "crawler", "compromised", "bad history"),
]
_IPV4 = re.compile(r"\d+\.\d+\.\d+\.\d+")
_LOCAL = re.compile(r"(?:127\.|192\.168\.)\d|localhost(?![a-z0-9.-])")


def _agree(merged: Merged, references: dict[str, set[str]], minimum_feeds: int) -> None:
    """Names all that list an indicator, and drops IPv4 addresses that too few feeds list."""
    found = merged.entries
    for key in [key for key, trail in found.items() if trail.reference not in OWN or key in references]:
        trail, others = found[key], references.get(key, set())
        if _IPV4.fullmatch(key):
            if _is_trap(trail):
                others = set()
            if trail.reference not in OWN and len(others or {trail.reference}) < minimum_feeds:
                _drop(merged, key, "addresses in too few feeds")
                continue
            if trail.info == "malware":
                trail = trail._replace(info="potential malware site")
        if trail.info == "ransomware":
            trail = trail._replace(info="ransomware (malware)")
        if others := others - {trail.reference}:
            trail = trail._replace(reference=f"{trail.reference} (+{','.join(sorted(others))})")
        found[key] = trail


def _leave_out(merged: Merged, whitelist: Whitelist) -> None:
    """Drops what is whitelisted, and what names this host or its network."""
    reasons = {}
    for key, trail in merged.entries.items():
        if whitelist.holds(key):
            reasons[key] = "whitelisted"
        elif key[0] in "1l" and _LOCAL.match(key) and not trail.reference.startswith(CUSTOM):
            reasons[key] = "local addresses"
        elif not trail.reference.startswith(OWN) and _is_bogon(key) and not _is_trap(trail):
            reasons[key] = "addresses that are not public"
    for key, reason in reasons.items():
        _drop(merged, key, reason)


def _drop(merged: Merged, key: str, reason: str) -> None:
    del merged.entries[key]
    if key in merged.patterns:
        merged.patterns.remove(key)
    merged.networks.pop(key, None)
    merged.dropped[reason] += 1


def _is_trap(trail: Trail) -> bool:
    """Whether an address is where names end up that lead nowhere else any more."""
    return "parking" in trail.info or "sinkhole" in trail.info


def _is_bogon(key: str) -> bool:
    """Whether a key begins with an IPv4 address that nobody has on the Internet."""
    host = re.split("[:/]", key, maxsplit=1)[0]
    try:
        return bool(_IPV4.fullmatch(host)) and not ip_address(host).is_global
    except ValueError:
        return False
