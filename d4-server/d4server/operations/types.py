"""Types and meta types: which are accepted, and what they are for."""

from __future__ import annotations

from typing import Annotated

from d4server import types
from d4server.operations import kinds
from d4server.operations.kinds import TYPE
from d4server.operations.operation import OPERATORS, VIEWERS, Context, Invalid, Missing, operation
from d4server.types import Type

DESCRIPTION = kinds.text(types.LONGEST_DESCRIPTION).labelled("Description")
META = kinds.matching(
    "[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "at most 64 letters, digits, dots, dashes and underscores"
).labelled("Name, for type 254")


@operation("GET", "/types", VIEWERS)
async def _list(context: Context) -> list[Type]:
    """All types that are configured, or that somebody has decided on: numbers, then meta types."""
    return await types.known(context.redis, context.settings.d4.rules())


@operation("GET", "/types/{type}", VIEWERS)
async def show(context: Context, *, type: Annotated[str, TYPE]) -> Type:
    """One type that is configured, or that somebody has decided on."""
    found = next((each for each in await _list(context) if each.name == type), None)
    if found is None:
        raise Missing(f"there is no type {type}")
    return found


@operation("POST", "/types", OPERATORS)
async def accept(
    context: Context,
    *,
    type: Annotated[str, TYPE],
    name: Annotated[str | None, META] = None,
    description: Annotated[str | None, DESCRIPTION] = None,
) -> None:
    """Accept a type; type 254 with the name that its meta header gives it, or that name alone."""
    chosen = type if name is None else named("name", type, name)
    await types.accept(context.redis, context.settings.d4.rules(), chosen)
    if description is not None:
        await types.describe(context.redis, chosen, description)


@operation("POST", "/types/{type}/refuse", OPERATORS)
async def refuse(context: Context, *, type: Annotated[str, TYPE]) -> None:
    """Refuse a type, and close the connections that bring it; what is stored of it stays."""
    await types.refuse(context.redis, type)


@operation("POST", "/types/{type}/describe", OPERATORS)
async def describe(
    context: Context, *, type: Annotated[str, TYPE], description: Annotated[str, DESCRIPTION]
) -> None:
    """Say what a type is for; nothing takes that away."""
    await show(context, type=type)
    await types.describe(context.redis, type, description)


@operation("DELETE", "/types/{type}", OPERATORS)
async def forget(context: Context, *, type: Annotated[str, TYPE]) -> None:
    """Take back what was decided on a type, and said of it: it is as the configuration has it."""
    if not await types.forget(context.redis, type):
        raise Missing(f"nothing was decided on type {type}")


def named(parameter: str, type: str, name: str) -> str:
    """The type that is meant by type 254 and a meta type's name. Raises Invalid for this parameter."""
    if type != "254":
        raise Invalid({parameter: "is for type 254 alone"})
    try:
        chosen = types.parse(name)
    except ValueError as error:
        raise Invalid({parameter: str(error)}) from None
    if not types.is_meta(chosen):
        raise Invalid({parameter: "must not be a number"})
    return chosen
