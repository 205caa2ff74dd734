"""Tokens for programs that use the API: one's own, and for admins those of all users."""

from __future__ import annotations

from typing import Annotated

from d4server import tokens, users
from d4server.actor import EVERYBODY, Role
from d4server.operations import kinds
from d4server.operations.kinds import NAME, PAGE, PAGE_SIZE, SEARCH
from d4server.operations.operation import (
    Context,
    Failed,
    Forbidden,
    Missing,
    Page,
    operation,
    page_of,
)
from d4server.operations.users import ROLE, USER
from d4server.tokens import NewToken, Token

VALID = kinds.span("1min", "3650d").labelled("Valid for")
ID = kinds.matching("[0-9a-f]{16}", "a token's id: 16 hexadecimal digits").labelled("Token")


@operation("GET", "/tokens", EVERYBODY)
async def _list(
    context: Context,
    *,
    search: Annotated[str, SEARCH] = "",
    page: Annotated[int, PAGE] = 1,
    size: Annotated[int, PAGE_SIZE] = 50,
) -> Page[Token]:
    """Tokens that are valid, the newest first; an admin sees those of all users.

    A search is in their names, users, roles and ids.
    """
    wanted = search.lower()
    found = [
        each
        for each in await tokens.listed(context.redis, await _users(context))
        if wanted in f"{each.name} {each.user} {each.role} {each.id}".lower()
    ]
    return page_of(found, page, size)


@operation("POST", "/tokens", EVERYBODY)
async def create(
    context: Context,
    *,
    name: Annotated[str, NAME],
    role: Annotated[str, ROLE],
    valid: Annotated[float, VALID] = 90 * 86400.0,
    user: Annotated[str, USER.labelled("For the user")] = "",
) -> NewToken:
    """Make a token for oneself, or as an admin for somebody else; it is in the answer, and nowhere else.

    Its role is one that its user's covers. Of tokens, only an admin's can make others.
    """
    actor = context.actor
    owner = user or actor.name
    if actor.role is not Role.ADMIN and (owner != actor.name or actor.means.startswith("token")):
        raise Forbidden("only an admin makes tokens for others, or by a token")
    if owner == users.COMMAND:
        raise Failed("say for which user")
    return await tokens.make(context.redis, owner, name, Role(role), valid)


@operation("DELETE", "/tokens/{id}", EVERYBODY)
async def revoke(context: Context, *, id: Annotated[str, ID]) -> None:
    """Have a token let nobody in any more."""
    owner = await tokens.owner_of(context.redis, id)
    others = owner != context.actor.name and context.actor.role is not Role.ADMIN
    if owner is None or others or not await tokens.revoke(context.redis, owner, id):
        raise Missing(f"there is no token {id} that is valid")


async def _users(context: Context) -> list[str]:
    """Whose tokens somebody may see."""
    if context.actor.role is Role.ADMIN:
        return [each.name for each in await users.known(context.redis)]
    return [context.actor.name]
