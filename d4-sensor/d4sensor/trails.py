"""Trails: what is known to be bad, and why."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Collection, Iterable
from functools import cached_property
from typing import NamedTuple, Protocol

from d4sensor.addresses import Addresses, Network
from d4sensor.filter import Filter
from d4sensor.indicator import Indicator, address_text, landmark
from d4sensor.whitelist import Whitelist


class TrailError(Exception):
    """Trails that cannot be read; the message names the file."""


class Trail(NamedTuple):
    """What is known about an indicator, and from where: ``netsupport (malware)``, ``(static)``.

    ``source`` is the file or the feed that says so.
    """

    info: str
    reference: str
    source: str = ""


class Entry(NamedTuple):
    """An indicator, and what a source says about it."""

    indicator: Indicator
    trail: Trail


class Entries(Protocol):
    """Trails by key, where they are not a dict: what reads them from a compiled file."""

    @property
    def get(self) -> Callable[[str], Trail | None]:
        """The trail of a key, or None."""
        ...

    @property
    def filter(self) -> Filter:
        """What filter_of makes of all keys."""
        ...

    def __len__(self) -> int: ...


def filter_of(keys: Collection[str]) -> Filter:
    """The filter of keys, and of the landmarks of those that are places on the web."""
    landmarks = {landmark(key) for key in keys if "/" in key}
    return Filter.of([*keys, *landmarks])


class Trails:
    """All trails, by key. Nothing changes once they are built."""

    def __init__(
        self,
        entries: dict[str, Trail] | Entries,
        networks: Iterable[Network] | Addresses,
        patterns: Iterable[str] = (),
        whitelist: Iterable[str] = (),
        user_agents: Iterable[str] = (),
    ) -> None:
        """``networks`` are all that some key names; ``patterns`` those of the keys that are patterns."""
        self.get: Callable[[str], Trail | None] = entries.get
        """The trail of a key, written as indicator.py does, or None."""
        self.addresses = networks if isinstance(networks, Addresses) else Addresses.of(networks)
        """Every address that some trail needs."""
        self.user_agents = tuple(user_agents)
        """Regular expressions for the User-Agents of HTTP that are trails themselves."""
        self.filter = filter_of(entries) if isinstance(entries, dict) else entries.filter
        """What says of many texts at once which are neither keys nor landmarks of keys.

        Of many keys it takes seconds to make, which is better done now than when packets wait.
        """
        self._entries = entries
        self._patterns = patterns
        self._whitelist = whitelist

    def __len__(self) -> int:
        return len(self._entries)

    @cached_property
    def patterns(self) -> tuple[tuple[re.Pattern[str], str], ...]:
        """Regular expressions to be searched for in names, with their keys."""
        return tuple((re.compile(key), key) for key in self._patterns)

    def whitelisted(self, key: str) -> bool:
        """Whether a name, one above it, an address or another key is whitelisted."""
        return self._allowed.holds(key)

    def listing(self, address: str) -> tuple[str, Trail] | None:
        """The trail of an address, with its key: its own, or that of the narrowest network around it."""
        own = self.get(address)
        if own:
            return address, own
        packed = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
        number, bits = int.from_bytes(packed, "big"), len(packed) * 8
        for prefix in self.addresses.prefixes[len(packed)]:
            first = number >> (bits - prefix) << (bits - prefix)
            key = f"{address_text(first.to_bytes(len(packed), 'big'))}/{prefix}"
            trail = self.get(key)
            if trail:
                return key, trail
        return None

    @cached_property
    def _allowed(self) -> Whitelist:
        return Whitelist(self._whitelist)
