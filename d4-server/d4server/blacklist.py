"""Who is locked out: sensors by their UUID, hosts by their network; and for a short time, who was kicked.

In Redis, so that all servers see it: ``d4:blacklist`` is a set of UUIDs, addresses and networks as text,
``d4:kicked`` a sorted set of UUIDs by the time (seconds since the epoch) at which they may come again. A
server asks its own copy of both, so that a stranger costs no question to Redis.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from uuid import UUID

from redis.asyncio import Redis

from d4common import config
from d4common.session import Reason, Refused

BLACKLIST = "d4:blacklist"
KICKED = "d4:kicked"


def parse(text: str) -> str:
    """A UUID, an address or a network in its usual form. Raises ValueError."""
    text = re.sub(r"(?i)^::ffff:(?=[0-9]+\.)", "", text)
    try:
        return _short(text)
    except ValueError as error:
        if "host bits" in str(error):
            raise ValueError(f"is no network; {ip_network(text, strict=False)} is") from None
    try:
        return str(config.uuid4(text))
    except ValueError:
        wanted = "must be a UUID of version 4, an address, or a network such as 192.0.2.0/24 or 2001:db8::/32"
        raise ValueError(wanted) from None


def _short(text: str) -> str:
    """A network as text; one of a single address as that address."""
    network = ip_network(text)
    return str(network.network_address) if network.num_addresses == 1 else str(network)


async def entries(redis: Redis) -> list[str]:
    """All that is on the blacklist, sorted."""
    return sorted(entry.decode() for entry in await redis.smembers(BLACKLIST))


async def add(redis: Redis, entry: str) -> None:
    """Locks somebody out; ``entry`` as parse() gives it."""
    await redis.sadd(BLACKLIST, entry)


async def remove(redis: Redis, entry: str) -> bool:
    """Takes somebody off the blacklist. False if it was not there."""
    return bool(await redis.srem(BLACKLIST, entry))


async def kick(redis: Redis, sensor: UUID, seconds: float) -> None:
    """Has all servers close a sensor's connections, and let it in again after this time."""
    await redis.zremrangebyscore(KICKED, "-inf", time.time())
    await redis.zadd(KICKED, {str(sensor): time.time() + seconds})


class Blacklist:
    """A server's copy of both."""

    def __init__(self) -> None:
        self._entries: frozenset[bytes] = frozenset()
        self._sensors: frozenset[UUID] = frozenset()
        self._kicked: frozenset[UUID] = frozenset()
        self._networks: dict[tuple[int, int], set[int]] = {}
        """By version and length of the prefix, the prefixes as numbers."""

    async def renew(self, redis: Redis) -> bool:
        """Takes over what Redis has now; whether anything is new. Raises what redis-py raises."""
        listed = frozenset(await redis.smembers(BLACKLIST))
        kicked = await redis.zrangebyscore(KICKED, time.time(), "+inf")
        return self.take(listed, kicked)

    def take(self, listed: frozenset[bytes], kicked: Iterable[bytes]) -> bool:
        """Takes over what is on the blacklist, and who was kicked; whether anything is new.

        What is neither UUID nor network is left out of account.
        """
        before = self._entries, self._kicked
        self._kicked = frozenset(filter(None, map(_uuid, kicked)))
        if listed != self._entries:
            self._entries = listed
            self._sort(listed)
        return (self._entries, self._kicked) != before

    def network_of(self, address: str) -> str | None:
        """The network on the blacklist in which an address lies."""
        if not self._networks:
            return None
        ip = ip_address(address.partition("%")[0])
        for (version, length), prefixes in self._networks.items():
            if version == ip.version and int(ip) >> (ip.max_prefixlen - length) in prefixes:
                return _short(str(ip_network(f"{ip}/{length}", strict=False)))
        return None

    def check(self, address: str, sensor: UUID) -> None:
        """Raises Refused where a sensor at an address is locked out."""
        network = self.network_of(address)
        if network or sensor in self._sensors:
            raise Refused(Reason.BLACKLIST, f"{network or sensor} is on the blacklist")
        if sensor in self._kicked:
            raise Refused(Reason.KICKED, "`d4-server sensors kick` has locked it out for a short time")

    def _sort(self, listed: frozenset[bytes]) -> None:
        """UUIDs and networks, each where it is found again."""
        self._sensors = frozenset(filter(None, map(_uuid, listed)))
        self._networks = {}
        for entry in listed:
            try:
                network = ip_network(entry.decode())
            except ValueError:
                continue
            key = network.version, network.prefixlen
            bits = network.max_prefixlen - network.prefixlen
            self._networks.setdefault(key, set()).add(int(network.network_address) >> bits)


def _uuid(text: bytes) -> UUID | None:
    try:
        return UUID(text.decode())
    except ValueError:
        return None
