"""Groups of sensors: queues can be for one alone, and lists can show one."""

from __future__ import annotations

from typing import Annotated

from d4server import groups
from d4server.groups import Group
from d4server.operations.kinds import GROUP
from d4server.operations.operation import OPERATORS, VIEWERS, Context, operation


@operation("GET", "/groups", VIEWERS)
async def _list(context: Context) -> list[Group]:
    """All groups, and how many sensors are in each."""
    return await groups.groups(context.redis)


@operation("POST", "/groups", OPERATORS)
async def create(context: Context, *, name: Annotated[str, GROUP]) -> None:
    """Make a group, in which no sensor is."""
    await groups.create(context.redis, name)


@operation("DELETE", "/groups/{name}", OPERATORS)
async def delete(context: Context, *, name: Annotated[str, GROUP]) -> None:
    """Delete a group, for whose sensors no queue is; they stay."""
    await groups.delete(context.redis, name)
    if context.roster is not None:
        context.roster.outdate()
