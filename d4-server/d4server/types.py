"""Which types of data are accepted: as the configuration has it, and as administrators decide at run time.

One rule: about a type on which an administrator has decided, that counts, whatever the configuration says;
about all others, ``types`` and ``meta_types`` in [d4]. A type is named as streams are: by its number, or for
what type 254 holds by the name in the meta header.

``d4:{admin}:types`` is a hash: a type's name to ``accepted`` or ``refused``, ``description:<name>`` to what
people say of it. A server asks its own copy, which is at most two seconds old.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from redis.asyncio import Redis

from d4common.packet import EXTENDED, META_HEADER
from d4common.session import ACK, SESSION, Reason, Refused, Rules

TYPES = "d4:{admin}:types"

CARRIERS = (str(META_HEADER), str(EXTENDED))
"""What a meta type comes by: a meta header, and type 254 behind it."""

LONGEST_DESCRIPTION = 500
"""Characters of what people say of a type."""

_RESERVED = frozenset({SESSION, ACK, "seen", "appended"})
"""Meta types of the protocol, and what lies beside the streams in Redis."""

_ACCEPTED, _REFUSED = b"accepted", b"refused"


class Type(NamedTuple):
    """A type as an administrator sees it; ``decided`` unless it is as the configuration has it."""

    name: str
    accepted: bool
    decided: bool
    description: str


def parse(text: str) -> str:
    """The name of a type: a number from 1 to 254, or a meta type's name. Raises ValueError."""
    if text.isascii() and text.isdigit():
        if len(text) > 3 or not 1 <= int(text) <= EXTENDED:
            raise ValueError(f"must be a type from 1 to {EXTENDED}, or the name of a meta type")
        return str(int(text))
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text):
        raise ValueError("must be at most 64 letters, digits, dots, dashes and underscores")
    if text in _RESERVED:
        raise ValueError(f"must be another name: {text} means something else here")
    return text


def is_meta(name: str) -> bool:
    """Whether it is the name of a meta type."""
    return not name.isdigit()


async def known(redis: Redis, configured: Rules) -> list[Type]:
    """All types that are configured, decided on or described: numbers first, then meta types by name."""
    found = await redis.hgetall(TYPES)
    decided, described = _sort(found)
    names = {*_names(configured), *decided, *described}
    rules = _decide(configured, decided)
    return [
        Type(name, name in _names(rules), name in decided, described.get(name, ""))
        for name in sorted(names, key=_order)
    ]


async def accept(redis: Redis, configured: Rules, name: str) -> None:
    """Has all servers accept a type; with a meta type what it comes by, types 2 and 254."""
    decided, _ = _sort(await redis.hgetall(TYPES))
    accepted = _names(_decide(configured, decided))
    missing = [each for each in CARRIERS if is_meta(name) and each not in accepted]
    await redis.hset(TYPES, mapping={each: _ACCEPTED for each in (name, *missing)})


async def refuse(redis: Redis, name: str) -> None:
    """Has all servers refuse a type, and close the connections that bring it."""
    await redis.hset(TYPES, name, _REFUSED)


async def forget(redis: Redis, name: str) -> bool:
    """Takes back what was decided on a type, and what is said of it. False if there was nothing."""
    return bool(await redis.hdel(TYPES, name, f"description:{name}"))


async def describe(redis: Redis, name: str, description: str) -> None:
    """Says what a type is for; nothing, if that is empty."""
    field = f"description:{name}"
    await (redis.hset(TYPES, field, description) if description else redis.hdel(TYPES, field))


class Types:
    """A server's copy."""

    def __init__(self, configured: Rules) -> None:
        self.rules = configured
        """What connections to come are held to."""
        self._configured = configured
        self._decided: dict[str, bytes] = {}

    def configure(self, configured: Rules) -> None:
        """The configuration has changed."""
        self._configured = configured
        self.rules = _decide(configured, self._decided)

    async def renew(self, redis: Redis) -> bool:
        """Takes over what Redis has now; whether anything is new. Raises what redis-py raises."""
        decided, _ = _sort(await redis.hgetall(TYPES))
        if decided == self._decided:
            return False
        self._decided = decided
        self.rules = _decide(self._configured, decided)
        return True

    def check(self, type: str) -> None:
        """Raises Refused for data of a type that an administrator refuses."""
        meta = is_meta(type)
        for name in (type, *(CARRIERS if meta else ())):
            if self._decided.get(name) == _REFUSED:
                reason = Reason.META_TYPE if name == type and meta else Reason.TYPE
                kind = "meta type" if reason is Reason.META_TYPE else "type"
                raise Refused(reason, f"an administrator refuses {kind} {name}")


def _sort(found: Mapping[bytes, bytes]) -> tuple[dict[str, bytes], dict[str, str]]:
    """What was decided on types, and what is said of them; what nobody here has put there is passed over."""
    decided, described = dict[str, bytes](), dict[str, str]()
    for field, value in found.items():
        kind, colon, name = field.decode().partition(":")
        if colon and kind == "description":
            described[name] = value.decode()
        elif not colon and value in (_ACCEPTED, _REFUSED):
            decided[kind] = value
    return decided, described


def _decide(configured: Rules, decided: Mapping[str, bytes]) -> Rules:
    """What is accepted in all."""
    accepted = {name for name, what in decided.items() if what == _ACCEPTED}
    names = (_names(configured) - decided.keys()) | accepted
    metas = frozenset(filter(is_meta, names))
    return Rules(frozenset(int(name) for name in names - metas), metas, configured.chunks)


def _names(rules: Rules) -> set[str]:
    return {*map(str, rules.types), *rules.meta_types}


def _order(name: str) -> tuple[bool, int, str]:
    """Numbers first, by their size."""
    return is_meta(name), 0 if is_meta(name) else int(name), name
