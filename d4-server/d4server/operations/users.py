"""Users: who may administer this server, and what an admin does with one."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

from d4server import second_factor, users
from d4server.actor import ADMINS, Role
from d4server.operations import kinds
from d4server.operations.kinds import PAGE, PAGE_SIZE, SEARCH, Kind
from d4server.operations.operation import Context, Missing, Page, operation, page_of
from d4server.sessions import Listed, end, listed
from d4server.users import User


def _name(value: Any) -> str:
    return users.parse_name(value if isinstance(value, str) else "")


USER: Kind[str] = Kind(
    _name, {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$"}, "User name"
)
"""A user's name, in small letters."""

ROLE = kinds.choice(*Role).labelled("Role")
SESSION = kinds.matching("[0-9a-f]{16}", "a session's id: 16 hexadecimal digits").labelled("Session")


class NewPassword(NamedTuple):
    """A password that was made for a user, who must change it at the next login; it is shown this once."""

    name: str
    password: str


@operation("GET", "/users", ADMINS)
async def _list(
    context: Context,
    *,
    search: Annotated[str, SEARCH] = "",
    page: Annotated[int, PAGE] = 1,
    size: Annotated[int, PAGE_SIZE] = 50,
) -> Page[User]:
    """Users by name; a search is in their names and roles."""
    wanted = search.lower()
    found = [each for each in await users.known(context.redis) if wanted in f"{each.name} {each.role}"]
    return page_of(found, page, size)


@operation("GET", "/users/{name}", ADMINS)
async def show(context: Context, *, name: Annotated[str, USER]) -> User:
    """One user."""
    return await _existing(context, name)


@operation("POST", "/users", ADMINS)
async def create(
    context: Context, *, name: Annotated[str, USER], role: Annotated[str, ROLE] = Role.VIEWER
) -> NewPassword:
    """Make a user; the first password is in the answer, and nowhere else."""
    return NewPassword(name, await users.create(context.redis, name, Role(role)))


@operation("POST", "/users/{name}/role", ADMINS)
async def set_role(context: Context, *, name: Annotated[str, USER], role: Annotated[str, ROLE]) -> None:
    """Give a user another role, and end the user's sessions."""
    await _existing(context, name)
    await users.set_role(context.redis, name, Role(role))


@operation("POST", "/users/{name}/disable", ADMINS)
async def disable(context: Context, *, name: Annotated[str, USER]) -> None:
    """End a user's sessions, and let neither the user nor the user's tokens in any more."""
    await _existing(context, name)
    await users.disable(context.redis, name)


@operation("POST", "/users/{name}/enable", ADMINS)
async def enable(context: Context, *, name: Annotated[str, USER]) -> None:
    """Let a user in again who is disabled."""
    await _existing(context, name)
    await users.enable(context.redis, name)


@operation("POST", "/users/{name}/password", ADMINS)
async def reset_password(context: Context, *, name: Annotated[str, USER]) -> NewPassword:
    """Give a user another password, to be changed at the next login, and end the user's sessions."""
    await _existing(context, name)
    return NewPassword(name, await users.reset_password(context.redis, name))


@operation("POST", "/users/{name}/totp/remove", ADMINS)
async def remove_totp(context: Context, *, name: Annotated[str, USER]) -> None:
    """Have a user's password be enough who has lost the app for codes and the recovery codes."""
    await _existing(context, name)
    await second_factor.remove(context.redis, name)


@operation("DELETE", "/users/{name}", ADMINS)
async def delete(context: Context, *, name: Annotated[str, USER]) -> None:
    """Forget a user, and the user's sessions and tokens."""
    await _existing(context, name)
    await users.delete(context.redis, name)


@operation("GET", "/users/{name}/sessions", ADMINS)
async def sessions(context: Context, *, name: Annotated[str, USER]) -> list[Listed]:
    """Where a user is logged in, the newest first."""
    await _existing(context, name)
    return await listed(context.redis, name)


@operation("DELETE", "/users/{name}/sessions/{id}", ADMINS)
async def end_session(context: Context, *, name: Annotated[str, USER], id: Annotated[str, SESSION]) -> None:
    """End a session of a user."""
    if not await end(context.redis, name, id):
        raise Missing(f"{name} has no session {id}, or it has ended")


async def _existing(context: Context, name: str) -> User:
    found = await users.find(context.redis, name)
    if found is None:
        raise Missing(f"there is no user {name}")
    return found
