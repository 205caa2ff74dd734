"""A server that has been at work for weeks: sensors, what they have sent, what was refused, who waits."""

from __future__ import annotations

import random
import time
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from operating import do, with_redis
from redis.asyncio import Redis

from d4common import queues, records
from d4common.enrolling import Enroll
from d4common.queues import Consumer
from d4common.records import Entry
from d4common.sender import Identity
from d4server import admission, blacklist, groups, sensors, statistics
from d4server.actor import Role
from d4server.operations import Forbidden
from d4server.sensors import SILENCE
from d4server.statistics import DAY

DAYS = 30

NAMES = (
    *("border-north", "border-south", "campus-dns", "dmz-1", "dmz-2", "guest-wlan"),
    *("honeypot-amsterdam", "honeypot-vienna", "lab", "mail-relay", "office-2nd-floor", "vpn-gateway"),
)

VOLUMES = {"maltrail": (900, 180), "1": (350, 1400), "8": (600, 90), "d4-telemetry": (60, 240)}
"""By type, about how many packets of a sensor come in a day, and the bytes of each."""


def populate(path: Path) -> list[UUID]:
    """Fills the Redis at a Unix socket, the same each time but for the days; gives the sensors."""
    return with_redis(path, _populate)


ARCHIVE = "5f0b3c1e-7d52-4c8e-9a41-0d6f2b9e8c37"
"""A queue under a UUID, of what is binary."""


def administer(path: Path, uuids: list[UUID]) -> None:
    """What administrators have done there: types, queues, watched sensors, users, tokens."""
    do(path, "types.accept", type="254", name="weather", description="Stations on the roofs, JSON.")
    do(path, "types.describe", type="maltrail", description="Events of d4-sensor, a line each.")
    do(path, "types.accept", type="1", description="Captures of the honeypots.")
    do(path, "types.refuse", type="3")
    do(path, "queues.create", type="1", name=ARCHIVE, group="honeypots", description="To the archive.")
    do(path, "queues.cap", name=ARCHIVE, entries=100_000, bytes="2G")
    do(path, "queues.create", type="254", meta="weather", name="forecast", description="Not in use yet.")
    do(path, "queues.pause", name="forecast")
    do(path, "queues.describe", name="maltrail", description="To maltrail-collector on this host.")
    frame = bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000") + bytes(range(200))
    captured = [Entry(uuid, "1", time.time(), frame) for uuid in uuids[6:8]]
    with_redis(path, lambda redis: records.append(redis, captured))
    with_redis(path, lambda redis: Consumer(redis, "maltrail", "maltrail", "collector-1.4711").read(9, 0.001))
    for uuid, limit in zip(uuids, ("1min", "2h", "1d"), strict=False):
        do(path, "sensors.watch", uuid=str(uuid), silence=limit)
    with_redis(path, lambda redis: redis.hset(SILENCE, str(uuids[0]), f"60 {int(time.time()) - 3600}"))
    for name, role in (("alice", "operator"), ("bob", "viewer"), ("inventory", "registrar")):
        do(path, "users.create", name=name, role=role)
    do(path, "users.disable", name="bob")
    do(path, "tokens.create", name="inventory sync", role="registrar", user="inventory")
    do(path, "tokens.create", name="Grafana", role="viewer", user="alice", valid="365d")
    with suppress(Forbidden):
        do(path, "queues.delete", Role.VIEWER, name="maltrail")


async def _populate(redis: Redis) -> list[UUID]:
    chance, now = random.Random(4), int(time.time())
    uuids = [UUID(int=chance.getrandbits(128), version=4) for _ in NAMES]
    for number, (uuid, name) in enumerate(zip(uuids, NAMES, strict=True)):
        await sensors.add(redis, Identity(uuid, sensors.new_key()))
        await sensors.say(redis, uuid, name=name, description=f"Rack {number + 1}, mirror port 1.")
        await _days_of(redis, uuid, f"198.51.100.{number + 20}", chance, now)
    await groups.create(redis, "honeypots")
    for uuid in uuids[6:8]:
        await groups.join(redis, "honeypots", uuid)
    await sensors.revoke(redis, uuids[8])
    await redis.zadd(statistics.seen_key(records.partition(uuids[8])), {str(uuids[8]): now - 3 * DAY})
    for number in range(2):
        claim = f"{chance.getrandbits(256):064x}"
        asking = Enroll(UUID(int=chance.getrandbits(128), version=4), f"branch-{number + 1}", claim)
        await admission.enroll(redis, asking, f"203.0.113.{number + 7}")
    await admission.new_token(redis, "branch-3", 7 * DAY)
    await blacklist.add(redis, "203.0.113.0/28")
    await blacklist.add(redis, "2001:db8:66::/48")
    await queues.create_queue(redis, "maltrail", "maltrail")
    line = "2026-11-24 10:00:00 vm 10.0.0.5 4001 203.0.113.5 443 TCP IP 203.0.113.5 malware (static)"
    stored = [Entry(uuid, "maltrail", now, f"{now} {line}\n".encode()) for uuid in uuids * 40]
    await records.append(redis, stored)
    return uuids


async def _days_of(redis: Redis, uuid: UUID, address: str, chance: random.Random, now: int) -> None:
    """What a sensor has sent in the last days, in its own counts and in those of all."""
    seen = now - chance.randrange(240)
    for back in range(DAYS):
        day = now // DAY - back
        counts = _counts(chance)
        async with redis.pipeline(transaction=False) as pipe:
            for key in (statistics.day_key(uuid, day), statistics.total_key(day)):
                for name, number in counts.items():
                    pipe.hincrby(key, name, number)
            first, last = day * DAY + 60, min(day * DAY + DAY - 1, seen)
            about = {"first": first, "last": last, "address": address}
            pipe.hset(statistics.day_key(uuid, day), mapping=about)
            for reason in ("handshake", "unknown-sensor"):
                name = f"stranger:{reason}:ipv4-global"
                pipe.hincrby(statistics.total_key(day), name, chance.randrange(9))
            await pipe.execute()
    await redis.zadd(statistics.seen_key(records.partition(uuid)), {str(uuid): seen})


def _counts(chance: random.Random) -> dict[str, int]:
    counts = {"refused:hmac": chance.randrange(3)}
    for type, (packets, size) in VOLUMES.items():
        number = int(packets * chance.uniform(0.4, 1.3))
        counts |= {f"packets:{type}": number, f"bytes:{type}": number * size, f"records:{type}": number * 3}
    return {name: number for name, number in counts.items() if number}
