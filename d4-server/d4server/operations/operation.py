"""What an operation is, and how one is performed: role, values, audit trail.

A parameter of an operation is ``name: Annotated[type, KIND] = default``; one without a default must be given.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from redis.asyncio import Redis

from d4common.records import NotReplicated
from d4server.actor import ADMINS as ADMINS
from d4server.actor import EVERYBODY as EVERYBODY
from d4server.actor import OPERATORS as OPERATORS
from d4server.actor import REGISTRARS as REGISTRARS
from d4server.actor import VIEWERS as VIEWERS
from d4server.actor import Actor as Actor
from d4server.actor import Role as Role
from d4server.config import ServerConfig
from d4server.operations import trail
from d4server.operations.kinds import Kind
from d4server.sensors import Refused, replicated

if TYPE_CHECKING:
    from d4server.roster import Roster

T = TypeVar("T")


class Failed(Exception):
    """What was asked cannot be; the message says why, and what can."""


class Missing(Failed):
    """There is nothing of that name."""


class Forbidden(Failed):
    """The actor's role does not allow it."""


class Invalid(Failed):
    """Values that cannot be: ``problems`` has a sentence for each field."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name} {problem}" for name, problem in problems.items()))
        self.problems = dict(problems)


class Context(NamedTuple):
    """What operations work with.

    ``roster`` is what a process that lives for long keeps of all sensors; without one, Redis is asked.
    """

    redis: Redis
    settings: ServerConfig
    actor: Actor
    roster: Roster | None = None


class Page(NamedTuple, Generic[T]):
    """One page of what a search has found: ``total`` counts all pages' items, pages begin at 1."""

    items: list[T]
    total: int
    page: int
    size: int


def page_of(found: Sequence[T], page: int, size: int) -> Page[T]:
    """One page of all that was found, whose pages have ``size`` items."""
    return Page(list(found[(page - 1) * size : page * size]), len(found), page, size)


class Parameter(NamedTuple):
    """What an operation takes. Without ``required``, ``default`` stands for what is not given."""

    name: str
    kind: Kind[Any]
    required: bool
    default: Any


@dataclass(frozen=True)
class Operation:
    """One thing that can be done."""

    name: str
    """Room and verb, such as ``sensors.approve``."""
    roles: frozenset[Role]
    method: str
    path: str
    """Below /api/v1, such as ``/sensors/{uuid}/approve``; other parameters come as query (GET) or JSON."""
    changes: bool
    """Whether it changes anything, and is therefore in the audit trail."""
    summary: str
    """The first line of the function's docstring."""
    description: str
    """The rest of it."""
    parameters: tuple[Parameter, ...]
    result: Any
    """The type of what it returns."""
    run: Callable[..., Awaitable[Any]]

    @property
    def lets_in(self) -> bool:
        """Whether it changes who may connect, or with which keys."""
        return self.changes and self.name.partition(".")[0] in ("sensors", "enrolment")


_operations: dict[str, Operation] = {}


def all_operations() -> Mapping[str, Operation]:
    """Every operation by its name."""
    return _operations


def operation(
    method: str, path: str, roles: frozenset[Role], *, changes: bool | None = None
) -> Callable[[T], T]:
    """Makes an operation of a coroutine function ``verb(context, *, parameter: Annotated[type, kind])``."""

    def register(function: Any) -> Any:
        name = f"{function.__module__.rpartition('.')[2]}.{function.__name__.strip('_')}"
        hints = typing.get_type_hints(function, include_extras=True)
        parameters = tuple(
            Parameter(each.name, _kind(hints[each.name]), each.default is each.empty, each.default)
            for each in list(inspect.signature(function).parameters.values())[1:]
        )
        summary, _, description = (inspect.getdoc(function) or "").partition("\n")
        changing = method != "GET" if changes is None else changes
        _operations[name] = Operation(
            *(name, roles, method, path, changing, summary, description.strip(), parameters),
            *(hints["return"], function),
        )
        return function

    return register


def _kind(hint: Any) -> Kind[Any]:
    return next(each for each in typing.get_args(hint)[1:] if isinstance(each, Kind))


async def perform(context: Context, name: str, values: Mapping[str, Any]) -> Any:
    """Does it, with values as text or JSON gives them. Raises Failed and its kin, and what redis-py raises.

    What was changed is in the audit trail, and so is what somebody tried whose role does not allow it.
    """
    wanted = _operations[name]
    if context.actor.role not in wanted.roles:
        await trail.write(context.redis, context.actor, wanted, {}, "refused")
        raise Forbidden(f"{context.actor.role} may not do that; {_or(wanted.roles)} may")
    taken = _take(wanted, values)
    try:
        result = await wanted.run(context, **taken)
    except Forbidden:
        await trail.write(context.redis, context.actor, wanted, taken, "refused")
        raise
    except Refused as error:
        raise Failed(str(error)) from None
    if wanted.changes:
        sensor = taken.get("uuid") or getattr(result, "uuid", None)
        if context.roster is not None and sensor is not None:
            context.roster.outdate(sensor)
        await trail.write(context.redis, context.actor, wanted, taken)
    if wanted.lets_in:
        await _wait_for_replicas(context)
    return result


async def _wait_for_replicas(context: Context) -> None:
    """Until then nobody is told a key: a replica that takes over must know it."""
    try:
        await replicated(context.redis, context.settings.redis.replicas)
    except NotReplicated as error:
        raise Failed(f"{error}; it is done, but may be lost: do it again when they are back") from None


def _or(roles: frozenset[Role]) -> str:
    return " or ".join(role for role in Role if role in roles)


def _take(wanted: Operation, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as their kinds read them. Raises Invalid with all that is wrong at once."""
    taken, problems = dict[str, Any](), dict[str, str]()
    for parameter in wanted.parameters:
        value = values.get(parameter.name)
        if value is None:
            if parameter.required:
                problems[parameter.name] = "is missing"
            else:
                taken[parameter.name] = parameter.default
            continue
        try:
            taken[parameter.name] = parameter.kind.take(value)
        except ValueError as error:
            problems[parameter.name] = str(error)
    known = {parameter.name for parameter in wanted.parameters}
    problems |= {name: "is not known here" for name in values if name not in known}
    if problems:
        raise Invalid(problems)
    return taken
