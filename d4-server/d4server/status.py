"""How the server is: what its daemon says, and what Redis holds; of either, as far as it answers."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import RedisError

from d4common import metrics, redis_client
from d4common.config import Endpoint
from d4common.metrics import Samples
from d4common.redis_url import RedisSection
from d4server import certificates, sensors, statistics, types
from d4server.config import ServerConfig
from d4server.statistics import Day
from d4server.survey import Survey, survey


class Daemon(NamedTuple):
    """What the daemon of this host says: open connections by kind, sensors, and bytes that wait for Redis.

    All of its ``workers`` together, if there are several (otherwise None): so many serve at the moment. A
    sensor that is connected to two of them counts twice.
    """

    connections: dict[str, int]
    sensors: int
    waiting: int
    certificate_end: float | None
    workers: int | None = None


class Disk(NamedTuple):
    """Where Redis keeps its data, and the bytes that are free there."""

    directory: str
    free: int


class Stored(NamedTuple):
    """What Redis says, of all servers that use it. ``sensors`` is how many there are, by state."""

    sensors: dict[str, int]
    today: Day
    survey: Survey
    disk: Disk | None


class Status(NamedTuple):
    """All of it. What did not answer is None, and ``problems`` has a sentence for it.

    ``certificate_end`` (seconds since the epoch) is of the certificate in use, or else of that in the file.
    """

    daemon: Daemon | None
    stored: Stored | None
    certificate_end: float | None
    problems: list[str]


async def status(settings: ServerConfig) -> Status:
    """Asks both."""
    problems: list[str] = []
    daemon = ask_daemon(settings.d4.metrics, problems)
    stored = await _ask_redis(settings, problems)
    return Status(daemon, stored, certificate_end(daemon, settings), problems)


def certificate_end(daemon: Daemon | None, settings: ServerConfig) -> float | None:
    """When the certificate ends: that which the daemon uses, or else that in the file."""
    end = daemon.certificate_end if daemon else None
    return end or certificates.end_of(settings.d4.certificate)


def as_json(found: Status) -> dict[str, Any]:
    """The same as an object of JSON."""
    return {
        "server": found.daemon and found.daemon._asdict(),
        "redis": found.stored and _stored_as_json(found.stored),
        "certificate_end": found.certificate_end,
        "problems": found.problems,
    }


def _stored_as_json(stored: Stored) -> dict[str, Any]:
    volumes = stored.today.volumes
    return {
        "memory": stored.survey.memory,
        "memory_limit": stored.survey.memory_limit,
        "disk": stored.disk and stored.disk._asdict(),
        "sensors": stored.sensors,
        "today": {
            "types": {
                type: {"packets": each.packets, "bytes": each.bytes, "records": each.records}
                for type, each in sorted(volumes.items())
            },
            "refused": stored.today.refused,
            "strangers": stored.today.strangers,
        },
        "queues": [queue._asdict() for queue in stored.survey.queues],
        "streams": [stream._asdict() for stream in stored.survey.streams],
    }


def ask_daemon(where: Path | Endpoint | None, problems: list[str]) -> Daemon | None:
    """What the daemon of this host says; None with a sentence among the problems, where it says nothing."""
    if where is None:
        return None
    try:
        return _daemon(metrics.fetch(where))
    except (FileNotFoundError, ConnectionRefusedError):
        problems.append(f"d4-server does not run, or serves no metrics at {where}")
    except OSError as error:
        problems.append(f"d4-server cannot be asked at {where}: {error.strerror or error}")
    except (KeyError, ValueError):
        problems.append(f"what answers at {where} is not d4-server")
    return None


def _daemon(samples: Samples) -> Daemon:
    """What its metrics say. Raises KeyError where they are not those of a d4-server."""
    workers = int(_sum(samples, "d4_workers")) if "d4_workers" in samples else None
    connections: Counter[str] = Counter()
    for labels, value in samples["d4_connections"] if workers != 0 else ():
        connections[labels["kind"]] += int(value)
    return Daemon(
        dict(connections),
        int(_sum(samples, "d4_sensors_connected")),
        int(_sum(samples, "d4_store_waiting_bytes")),
        _sum(samples, "d4_certificate_end_seconds") if "d4_certificate_end_seconds" in samples else None,
        workers,
    )


def _sum(samples: Samples, name: str) -> float:
    return sum(value for _, value in samples.get(name, ()))


async def _ask_redis(settings: ServerConfig, problems: list[str]) -> Stored | None:
    redis = redis_client.connect_or_end(settings.redis)
    try:
        known = await sensors.known(redis)
        return Stored(
            {"approved": 0, "pending": 0, "revoked": 0, **Counter(sensor.state for sensor in known)},
            await statistics.totals(redis),
            await survey(redis, [type.name for type in await types.known(redis, settings.d4.rules())]),
            await disk(redis, settings.redis),
        )
    except (RedisError, OSError) as error:
        why = redis_client.explain(error) if isinstance(error, RedisError) else error
        problems.append(f"Redis at {settings.redis.url} does not answer: {why}")
        return None
    finally:
        await redis_client.close(redis)


async def disk(redis: Redis, where: RedisSection) -> Disk | None:
    """Known of a Redis on this host, where it says where it is and that may be looked at."""
    if where.url.scheme != "unix":
        return None
    try:
        directory = (await redis.config_get("dir"))["dir"]
        return Disk(directory, shutil.disk_usage(directory).free)
    except (RedisError, OSError, KeyError):
        return None
