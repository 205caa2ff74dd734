"""Sensors: who there is, who waits, and what an administrator does with one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, NamedTuple
from uuid import UUID, uuid4

from d4common.sender import Identity
from d4server import admission, blacklist, caps, groups, history, monitoring, roster, sensors, statistics
from d4server.groups import join, leave
from d4server.history import SensorDay
from d4server.monitoring import Watched
from d4server.operations import kinds
from d4server.operations.kinds import DESCRIPTION, KEY, PAGE, PAGE_SIZE, SEARCH, UUID4
from d4server.operations.operation import (
    OPERATORS,
    REGISTRARS,
    VIEWERS,
    Context,
    Failed,
    Missing,
    Page,
    operation,
    page_of,
)
from d4server.reasons import words
from d4server.roster import Listed
from d4server.statistics import DAY, Volume

HISTORY = 30
"""Days that a sensor's page shows."""

STATE = kinds.choice("approved", "pending", "revoked").labelled("State")
SORT = kinds.sort("name", "uuid", "state", "added", "seen")
GROUPS = kinds.list_of(kinds.GROUP, 100).labelled("Groups")
CAP = kinds.size("1", "10240G").labelled("Bytes a day")
SILENCE = kinds.span("1min", "366d").labelled("Limit of silence")
KICK = kinds.span("1s", "366d").labelled("For")
MAIL = kinds.text(254).labelled("Mail address")
THIRD_PARTY = kinds.text(200).labelled("Third party")


class Sensor(NamedTuple):
    """A sensor in a list: see roster.Listed; ``packets`` and ``bytes`` are those of today (UTC)."""

    uuid: UUID
    name: str
    state: str
    added: int
    seen: int | None
    address: str
    groups: tuple[str, ...]
    code: str
    description: str
    packets: int
    bytes: int


class TypeSeen(NamedTuple):
    """What came of one type in the days that are shown, and the first and last of these with any."""

    type: str
    first: str
    last: str
    packets: int
    bytes: int
    records: int


class AddressSeen(NamedTuple):
    """An address from which a sensor was the last on a day, and the first and last such day."""

    address: str
    first: str
    last: str


class Refusal(NamedTuple):
    """For one reason: connections closed in the days that are shown, and the last such day."""

    reason: str
    words: str
    connections: int
    last: str


class Rates(NamedTuple):
    """What came in a second, on average between the first and the last that was heard today."""

    packets: float
    bytes: float
    records: float


class SensorDetail(NamedTuple):
    """All about one sensor. ``first_seen`` is within the days that are shown, the oldest first."""

    uuid: UUID
    name: str
    state: str
    added: int
    first_seen: int | None
    seen: int | None
    address: str
    groups: tuple[str, ...]
    code: str
    description: str
    mail: str
    third_party: str
    blacklisted: bool
    cap: int | None
    """Bytes that it may send in a day."""
    silence: int | None
    """Seconds that it may be silent until that is told."""
    types: list[TypeSeen]
    addresses: list[AddressSeen]
    rates: Rates
    refusals: list[Refusal]
    history: list[SensorDay]


class Added(NamedTuple):
    """A sensor that may connect; ``key`` is there where it was made for it, and is not shown again."""

    uuid: UUID
    key: str | None


class Registered(NamedTuple):
    """The UUID, as 32 hexadecimal digits."""

    uuid: str


@operation("GET", "/sensors", VIEWERS)
async def _list(
    context: Context,
    *,
    search: Annotated[str, SEARCH] = "",
    state: Annotated[str | None, STATE] = None,
    group: Annotated[str | None, kinds.GROUP] = None,
    sort: Annotated[str, SORT] = "name",
    page: Annotated[int, PAGE] = 1,
    size: Annotated[int, PAGE_SIZE] = 50,
) -> Page[Sensor]:
    """Sensors, those that wait for approval too.

    What is searched for may be in UUID, name, description, group or address, with any case.
    """
    known = await known_sensors(context)
    found = _matching(known.values(), search.casefold(), state, group)
    listed = page_of(_sorted(found, sort), page, size)
    today = await statistics.today(context.redis, [each.uuid for each in listed.items])
    rows = [_row(each, today[each.uuid].volumes) for each in listed.items]
    return Page(rows, listed.total, page, size)


@operation("GET", "/sensors/{uuid}", VIEWERS)
async def show(context: Context, *, uuid: Annotated[UUID, UUID4]) -> SensorDetail:
    """One sensor: what it has sent in the last 30 days, from where, and what was refused."""
    about = await _one(context, uuid)
    days = await history.of_sensor(context.redis, uuid, HISTORY)
    entries = await blacklist.entries(context.redis)
    return SensorDetail(
        **{name: getattr(about, name) for name in Listed._fields if name in SensorDetail._fields},
        first_seen=next((day.first for day in days if day.first), None),
        blacklisted=str(uuid) in entries,
        cap=await caps.cap_of(context.redis, uuid),
        silence=await monitoring.limit_of(context.redis, uuid),
        types=_types(days),
        addresses=_addresses(days),
        rates=_rates(days[-1]),
        refusals=_refusals(days),
        history=days,
    )


@operation("POST", "/sensors", OPERATORS)
async def add(
    context: Context,
    *,
    uuid: Annotated[UUID | None, UUID4] = None,
    key: Annotated[bytes | None, KEY] = None,
    name: Annotated[str, kinds.text(64).labelled("Name")] = "",
) -> Added:
    """Let a sensor in by its UUID and key, or give it another key.

    Without UUID or key, one is made; a key that was made is in the answer, and nowhere else.
    """
    identity = Identity(uuid or uuid4(), key or sensors.new_key())
    await sensors.add(context.redis, identity)
    if name:
        await sensors.say(context.redis, identity.uuid, name=name)
    return Added(identity.uuid, None if key else identity.key.decode())


@operation("POST", "/sensors/{uuid}/approve", OPERATORS)
async def approve(context: Context, *, uuid: Annotated[UUID, UUID4]) -> None:
    """Let a sensor in that waits for approval."""
    await admission.approve(context.redis, uuid)


@operation("POST", "/sensors/{uuid}/rename", OPERATORS)
async def rename(
    context: Context,
    *,
    uuid: Annotated[UUID, UUID4],
    name: Annotated[str, kinds.text(64).labelled("Name")],
) -> None:
    """Give a sensor another name; an empty one takes it away."""
    _must_be(await sensors.say(context.redis, uuid, name=name), uuid)


@operation("POST", "/sensors/{uuid}/describe", OPERATORS)
async def describe(
    context: Context, *, uuid: Annotated[UUID, UUID4], description: Annotated[str, DESCRIPTION]
) -> None:
    """Say what a sensor is, where it stands, whom to ask."""
    _must_be(await sensors.say(context.redis, uuid, description=description), uuid)


@operation("POST", "/sensors/{uuid}/group", OPERATORS)
async def group(
    context: Context, *, uuid: Annotated[UUID, UUID4], groups: Annotated[tuple[str, ...], GROUPS]
) -> None:
    """Put a sensor into these groups, and out of all others."""
    before = (await _one(context, uuid)).groups
    for name in set(groups) - set(before):
        await join(context.redis, name, uuid)
    for name in set(before) - set(groups):
        await leave(context.redis, name, uuid)


@operation("POST", "/sensors/{uuid}/kick", OPERATORS)
async def kick(
    context: Context, *, uuid: Annotated[UUID, UUID4], span: Annotated[float, KICK] = 30.0
) -> None:
    """Close a sensor's connections; it may come again after a time."""
    await _one(context, uuid)
    await blacklist.kick(context.redis, uuid, span)


@operation("POST", "/sensors/{uuid}/revoke", OPERATORS)
async def revoke(context: Context, *, uuid: Annotated[UUID, UUID4]) -> None:
    """Lock a sensor out, and keep it on the list."""
    _must_be(await sensors.revoke(context.redis, uuid), uuid)


@operation("DELETE", "/sensors/{uuid}", OPERATORS)
async def remove(context: Context, *, uuid: Annotated[UUID, UUID4]) -> None:
    """Lock a sensor out and forget it: it may ask to be let in again."""
    _must_be(await sensors.remove(context.redis, uuid), uuid)
    await groups.leave_all(context.redis, uuid)


@operation("POST", "/sensors/{uuid}/rotate", OPERATORS)
async def rotate(context: Context, *, uuid: Annotated[UUID, UUID4]) -> Added:
    """Make another key for a sensor; the former is valid for a day.

    The key is in the answer, and nowhere else.
    """
    return Added(uuid, (await sensors.rotate(context.redis, uuid)).decode())


@operation("POST", "/sensors/{uuid}/cap", OPERATORS)
async def cap(
    context: Context, *, uuid: Annotated[UUID, UUID4], bytes: Annotated[int | None, CAP] = None
) -> None:
    """Bound what a sensor may send in a day (UTC), in bytes; without a number, it may send all it likes.

    Beyond that it is refused until the day is over; what it keeps it sends then.
    """
    await _one(context, uuid)
    await caps.set_cap(context.redis, uuid, bytes)


@operation("POST", "/sensors/{uuid}/watch", OPERATORS)
async def watch(
    context: Context, *, uuid: Annotated[UUID, UUID4], silence: Annotated[float | None, SILENCE] = None
) -> None:
    """Have it told when a sensor is silent for longer than this, and when it is back; without a time, not."""
    await _one(context, uuid)
    await monitoring.watch(context.redis, uuid, None if silence is None else int(silence))


@operation("GET", "/monitoring", VIEWERS)
async def watched(context: Context) -> list[Watched]:
    """The sensors that are watched, and for how long each has been silent."""
    return await monitoring.watched(context.redis)


@operation("GET", "/sensors/monitoring/errors", VIEWERS)
async def errors(context: Context) -> list[str]:
    """Sensors that are silent for longer than their limit: UUIDs as 32 hexadecimal digits."""
    return await monitoring.errors(context.redis)


@operation("POST", "/add/sensor/register", REGISTRARS)
async def register(
    context: Context,
    *,
    uuid: Annotated[UUID, UUID4],
    hmac_key: Annotated[bytes, KEY],
    mail: Annotated[str, MAIL] = "",
    third_party: Annotated[str, THIRD_PARTY] = "",
    description: Annotated[str, DESCRIPTION] = "",
) -> Registered:
    """Have a sensor wait for approval, with the key that it has."""
    about = mail, third_party, description
    if not await admission.register(context.redis, Identity(uuid, hmac_key), *about):
        raise Failed(f"{uuid} is registered already")
    return Registered(uuid.hex)


async def known_sensors(context: Context) -> Mapping[UUID, Listed]:
    """All sensors by UUID: as they were a moment ago, or as Redis has them now."""
    if context.roster is not None:
        return await context.roster.sensors()
    return await roster.read(context.redis, context.settings.d4.statistics_days)


async def _one(context: Context, uuid: UUID) -> Listed:
    """A sensor that there is. Raises Missing."""
    found = (await known_sensors(context)).get(uuid)
    _must_be(found is not None, uuid)
    assert found is not None
    return found


def _must_be(there: bool, uuid: UUID) -> None:
    if not there:
        raise Missing(f"{uuid} is not a known sensor; `d4-server sensors list` shows them")


def _matching(known: Iterable[Listed], text: str, state: str | None, group: str | None) -> list[Listed]:
    return [
        each
        for each in known
        if (not text or text in each.text)
        and (state is None or each.state == state)
        and (group is None or group in each.groups)
    ]


def _sorted(found: list[Listed], column: str) -> list[Listed]:
    """Sorted by a column; what has nothing in it comes last in either direction."""
    name = column.removeprefix("-")
    empty = [each for each in found if getattr(each, name) in ("", None)]
    full = [each for each in found if getattr(each, name) not in ("", None)]
    if name == "name":
        full.sort(key=lambda each: each.name.casefold())
    else:
        full.sort(key=lambda each: getattr(each, name))  # type: ignore[no-any-return]
    return [*(reversed(full) if column != name else full), *empty]


def _row(about: Listed, volumes: Mapping[str, Volume]) -> Sensor:
    packets, bytes = (sum(getattr(each, name) for each in volumes.values()) for name in ("packets", "bytes"))
    fields = {name: getattr(about, name) for name in Listed._fields if name in Sensor._fields}
    return Sensor(**fields, packets=packets, bytes=bytes)


def _types(days: list[SensorDay]) -> list[TypeSeen]:
    total = history.add_up(days).volumes
    dates = {type: [day.date for day in days if type in day.volumes] for type in total}
    return [
        TypeSeen(type, dates[type][0], dates[type][-1], each.packets, each.bytes, each.records)
        for type, each in sorted(total.items())
    ]


def _addresses(days: list[SensorDay]) -> list[AddressSeen]:
    dates: dict[str, list[str]] = {}
    for day in days:
        if day.address:
            dates.setdefault(day.address, []).append(day.date)
    found = [AddressSeen(address, on[0], on[-1]) for address, on in dates.items()]
    return sorted(found, key=lambda each: each.last, reverse=True)


def _refusals(days: list[SensorDay]) -> list[Refusal]:
    total = history.add_up(days).refused
    last = {reason: max(day.date for day in days if reason in day.refused) for reason in total}
    return [Refusal(reason, words(reason), total[reason], last[reason]) for reason in sorted(total)]


def _rates(today: SensorDay) -> Rates:
    seconds = max(1, min(DAY, today.last - today.first))
    volumes = today.volumes.values()
    return Rates(
        *(sum(getattr(each, name) for each in volumes) / seconds for name in ("packets", "bytes", "records"))
    )
