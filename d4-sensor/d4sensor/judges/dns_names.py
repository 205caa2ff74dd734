"""What a name shows, wherever it was seen: in DNS, in TLS, in HTTP."""

from __future__ import annotations

import re

from d4sensor import heuristics
from d4sensor.judges import Verdict, dns_patterns
from d4sensor.trails import Trail, Trails

LONG_LABEL = 24
"""Characters of a first label that are not yet long (Maltrail's SUSPICIOUS_DOMAIN_LENGTH_THRESHOLD)."""

GATEWAYS = (".onion.", ".ip-adress.com")
"""What names have that stand for another: somewhere within, and at the end."""

MAX_TEXT = 1000
"""Characters of a trail's text in an event, which must fit into one datagram."""


def of(
    name: str,
    trails: Trails,
    disabled: frozenset[str] = frozenset(),
) -> Verdict | None:
    """The verdict on a name, which is_judged; ``disabled`` holds names of heuristics.

    The name that a gateway stands before is looked up first, then the name itself and its parents; then
    come the form of the name and the trails that are patterns.
    """
    verdict = _before_gateway(name, trails) or _listed(name, trails)
    if verdict is None and name.find(".") > LONG_LABEL and "long_domain" not in disabled:
        verdict = _long(name)
    if verdict is None:
        verdict = dns_patterns.of(name, trails)
    if verdict is None or name.replace(".", "").isdigit() or trails.whitelisted(name):
        return None
    return verdict


def is_judged(name: str) -> bool:
    """Whether a name is one that trails could hold: a host name of two labels or more, and not local."""
    return _NAME.fullmatch(name) is not None and ".intranet." not in name


def is_listed(name: str, trails: Trails) -> bool:
    """Whether there is a trail of the name or of one of its parents."""
    suffix = name
    while suffix:
        if trails.get(suffix):
            return True
        suffix = suffix.partition(".")[2]
    return False


def bracketed(name: str, labels: int) -> str:
    """A name as the text of a trail that consists of its last labels: ``(a.b).sld.tld``."""
    prefix, *suffix = name.rsplit(".", labels)
    return f"({prefix}).{'.'.join(suffix)}"


_LOCAL = (
    "alienvault",
    "arpa",
    "corp",
    "example",
    "guest",
    "home",
    "internal",
    "intra",
    "intran",
    "intranet",
) + ("lan", "local", "localdomain", "localnet", "test", "url", "workgroup")
_NAME = re.compile(rf"[a-z0-9._-]*\.(?!(?:{'|'.join(_LOCAL)})\Z)[a-z0-9-]+")
_NAME_SERVER = re.compile(r"(?:[rd]?ns|nf|mx|nic)\d*\.")


def _before_gateway(name: str, trails: Trails) -> Verdict | None:
    """The verdict on what is looked up at ip-adress.com, or reached through a gateway to onion services."""
    onion, looked_up = GATEWAYS
    if onion in name:
        key = name.partition(onion)[0] + ".onion"
    elif name.endswith(looked_up):
        key = name.removesuffix(looked_up)
    else:
        return None
    trail = trails.get(key)
    return Verdict("DNS", f"{key}({name[len(key) :]})", trail) if trail else None


def _listed(name: str, trails: Trails) -> Verdict | None:
    """The verdict on a name by its own trail, or that of the nearest parent, down to the top level."""
    suffix = name
    while suffix:
        trail = trails.get(suffix)
        if trail and not _harmless(name, suffix, trail):
            prefix = name[: -len(suffix) - 1]
            return Verdict("DNS", f"({prefix}).{suffix}" if prefix else name, trail)
        suffix = suffix.partition(".")[2]
    return None


def _harmless(name: str, suffix: str, trail: Trail) -> bool:
    """Whether a trail does not speak against this name below it.

    A name server or mail exchanger below a suspicious or sinkholed name is its registrar's; the front page
    of a provider of dynamic names or free sites is not what its customers put there.
    """
    if _NAME_SERVER.match(name) and ("suspicious" in trail.info or "sinkhole" in trail.info):
        return True
    front = name == suffix or name.startswith("www.")
    return front and ("dynamic" in trail.info or "free web" in trail.info)


def _long(name: str) -> Verdict | None:
    """The verdict on a name whose first label is longer than people make them."""
    if "-" in name.partition(".")[0] or "blogspot" in name:
        return None
    text = bracketed(name, min(2, name.count(".")))
    return Verdict("DNS", text, heuristics.trail("long domain (suspicious)"))
