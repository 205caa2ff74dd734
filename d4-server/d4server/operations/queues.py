"""Analyzer queues: each takes what comes of one type, and keeps it until its exporter has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple
from uuid import uuid4

from d4common import queue_settings, queues
from d4server import backlogs, groups, samples, survey, types
from d4server.operations import kinds
from d4server.operations.kinds import GROUP, PAGE, PAGE_SIZE, SEARCH, TYPE
from d4server.operations.operation import (
    OPERATORS,
    VIEWERS,
    Context,
    Failed,
    Invalid,
    Missing,
    Page,
    operation,
    page_of,
)
from d4server.operations.types import META, named
from d4server.samples import Record
from d4server.survey import Member

QUEUE = kinds.matching(
    "[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "1 to 64 letters, digits, dots, dashes and underscores"
).labelled("UUID or name")
CAP_ENTRIES = kinds.integer(0, 1_000_000_000).labelled("Most entries")
CAP_BYTES = kinds.size("0", "64G").labelled("Most memory")
COUNT = kinds.integer(1, 100).labelled("Records")


class Queue(NamedTuple):
    """A queue and how far behind it is: see survey.Queue and queue_settings.Settings."""

    name: str
    type: str
    lag: int
    pending: int
    consumers: int
    oldest: float
    description: str
    cap_entries: int
    cap_bytes: int
    paused: bool
    group: str
    dropped: int


class Emptied(NamedTuple):
    """How many entries were thrown away."""

    entries: int


class Created(NamedTuple):
    """The queue's name, by which its exporter asks for it."""

    name: str
    type: str


@operation("GET", "/queues", VIEWERS)
async def _list(
    context: Context,
    *,
    search: Annotated[str, SEARCH] = "",
    type: Annotated[str | None, TYPE] = None,
    page: Annotated[int, PAGE] = 1,
    size: Annotated[int, PAGE_SIZE] = 50,
) -> Page[Queue]:
    """Analyzer queues, and how far behind each is.

    What is searched for may be in name, type, description or group, with any case.
    """
    text, known = search.casefold(), await queues.queues(context.redis)
    settings = await queue_settings.settings(context.redis, known)
    found = [
        name
        for name, of in sorted(known.items())
        if text in f"{name}\n{of}\n{settings[name].description}\n{settings[name].group}".casefold()
        and (type is None or of == type)
    ]
    shown = page_of(found, page, size)
    return Page(await _queues(context, shown.items), *shown[1:])


@operation("GET", "/queues/{name}", VIEWERS)
async def show(context: Context, *, name: Annotated[str, QUEUE]) -> Queue:
    """One analyzer queue."""
    for found in await _queues(context, [name]):
        return found
    raise _missing(name)


@operation("POST", "/queues", OPERATORS)
async def create(
    context: Context,
    *,
    type: Annotated[str, TYPE],
    meta: Annotated[str | None, META] = None,
    name: Annotated[str | None, QUEUE] = None,
    description: Annotated[str, kinds.DESCRIPTION] = "",
    group: Annotated[str | None, GROUP] = None,
) -> Created:
    """Make an analyzer queue for a type, under a name of its own or a UUID that is made.

    Data of type 254 is of a meta type: that is the type, or type 254 with its name as ``meta``. A queue takes
    what the streams hold at the time, too; with a group, only what its sensors send.
    """
    chosen = name or str(uuid4())
    if meta is not None:
        type = named("meta", type, meta)
    await _check_type(context, type)
    if chosen in await queues.queues(context.redis):
        raise Failed(f"there is a queue {chosen} already")
    # Before there is anything to give out.
    await groups.limit_queue(context.redis, chosen, group or "")
    await queue_settings.change(context.redis, chosen, description=description)
    try:
        await queues.create_queue(context.redis, type, chosen)
    except ValueError as error:
        raise Failed(str(error)) from None
    return Created(chosen, type)


@operation("POST", "/queues/{name}/describe", OPERATORS)
async def describe(
    context: Context, *, name: Annotated[str, QUEUE], description: Annotated[str, kinds.DESCRIPTION]
) -> None:
    """Say what a queue is for; nothing takes that away."""
    await _change(context, name, description=description)


@operation("POST", "/queues/{name}/pause", OPERATORS)
async def pause(context: Context, *, name: Annotated[str, QUEUE]) -> None:
    """Give a queue's exporters nothing for the time being; they stay, and what comes waits."""
    await _change(context, name, paused=1)


@operation("POST", "/queues/{name}/resume", OPERATORS)
async def resume(context: Context, *, name: Annotated[str, QUEUE]) -> None:
    """Have a queue that is paused go on."""
    await _change(context, name, paused=0)


@operation("POST", "/queues/{name}/cap", OPERATORS)
async def cap(
    context: Context,
    *,
    name: Annotated[str, QUEUE],
    entries: Annotated[int, CAP_ENTRIES] = 0,
    bytes: Annotated[int, CAP_BYTES] = 0,
) -> None:
    """Bound what waits in a queue, in entries or bytes or both; 0 is no bound.

    What is beyond it is dropped within seconds, the oldest first, and counted.
    """
    await _change(context, name, cap_entries=entries, cap_bytes=bytes)


@operation("POST", "/queues/{name}/group", OPERATORS)
async def group(
    context: Context, *, name: Annotated[str, QUEUE], group: Annotated[str | None, GROUP] = None
) -> None:
    """Have a queue give out what a group's sensors send, and pass over the rest; without a group, all."""
    await _must_be(context, name)
    await groups.limit_queue(context.redis, name, group or "")


@operation("POST", "/queues/{name}/empty", OPERATORS)
async def empty(context: Context, *, name: Annotated[str, QUEUE]) -> Emptied:
    """Throw away all that waits in a queue."""
    await _must_be(context, name)
    return Emptied(await backlogs.empty(context.redis, name))


@operation("GET", "/queues/{name}/consumers", VIEWERS)
async def consumers(context: Context, *, name: Annotated[str, QUEUE]) -> list[Member]:
    """Who takes from a queue, those too that are gone."""
    await _must_be(context, name)
    return await survey.consumers(context.redis, name)


@operation("DELETE", "/queues/{name}", OPERATORS)
async def delete(context: Context, *, name: Annotated[str, QUEUE]) -> None:
    """Delete an analyzer queue, with what waits in it; its exporters stop."""
    if not await queues.delete_queue(context.redis, name):
        raise _missing(name)


@operation("GET", "/queues/{name}/sample", VIEWERS)
async def sample(
    context: Context, *, name: Annotated[str, QUEUE], count: Annotated[int, COUNT] = 10
) -> list[Record]:
    """The last records that a queue was given, the newest first; it keeps them."""
    try:
        return await samples.sample(context.redis, name, count, context.settings.d4.rules().chunks)
    except KeyError:
        raise _missing(name) from None


async def _queues(context: Context, names: Sequence[str]) -> list[Queue]:
    """All about some queues; one that was deleted meanwhile is not among them."""
    settings = await queue_settings.settings(context.redis, names)
    return [Queue(*each, *settings[each.name]) for each in await survey.behind(context.redis, names)]


async def _check_type(context: Context, type: str) -> None:
    """Raises Invalid for a type of which nothing can come."""
    if type in types.CARRIERS:
        raise Invalid({"type": "must be a meta type's name, such as maltrail: data of type 254 is of one"})
    if type not in [each.name for each in await types.known(context.redis, context.settings.d4.rules())]:
        raise Invalid({"type": "is not known here; have it accepted first, under Types"})


async def _change(context: Context, name: str, **changes: str | int) -> None:
    await _must_be(context, name)
    await queue_settings.change(context.redis, name, **changes)


async def _must_be(context: Context, name: str) -> None:
    """Raises Missing where there is no such queue."""
    if name not in await queues.queues(context.redis):
        raise _missing(name)


def _missing(name: str) -> Missing:
    return Missing(f"there is no queue {name}")
