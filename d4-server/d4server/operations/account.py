"""One's own account: password, second factor, sessions. What changes it takes a session, not a token."""

from __future__ import annotations

import socket
from typing import Annotated, Any, NamedTuple

from d4common import passwords
from d4server import audit, second_factor, users
from d4server.actor import EVERYBODY, Role
from d4server.audit import REFUSED
from d4server.operations import kinds
from d4server.operations.kinds import Kind
from d4server.operations.operation import Context, Failed, Forbidden, Invalid, Missing, operation
from d4server.operations.users import SESSION
from d4server.second_factor import Enrolment
from d4server.sessions import end, listed, may_try, was_right


def _given(value: Any) -> str:
    """A password as it was typed; white space belongs to it."""
    if not isinstance(value, str) or len(value) > passwords.LONGEST:
        raise ValueError(f"must be text of {passwords.LONGEST} characters at most")
    return value


def _chosen(value: Any) -> str:
    return passwords.chosen(_given(value))


PRESENT: Kind[str] = Kind(
    _given, {"type": "string", "maxLength": passwords.LONGEST}, "Present password", secret=True
)
CHOSEN: Kind[str] = Kind(
    _chosen,
    {"type": "string", "minLength": passwords.LEAST_LENGTH, "maxLength": passwords.LONGEST},
    "New password",
    secret=True,
)
CODE = kinds.text(40, least=1).labelled("Code").kept_secret()


class Account(NamedTuple):
    """Who one is here. ``role`` is that of the token where one is used; ``recovery_codes`` are those left."""

    name: str
    role: Role
    must_change: bool
    totp: bool
    recovery_codes: int
    created: int
    last_login: int


class RecoveryCodes(NamedTuple):
    """Each is good for one login without the app; they are shown this once."""

    codes: list[str]


class OwnSession(NamedTuple):
    """Where one is logged in; ``current`` is the session that asks. Times are seconds since the epoch."""

    id: str
    created: int
    last_used: int
    address: str
    agent: str
    current: bool


@operation("GET", "/account", EVERYBODY)
async def show(context: Context) -> Account:
    """One's own account."""
    found = await users.find(context.redis, context.actor.name)
    if found is None:
        raise Missing(f"{context.actor.name} has no account here")
    return Account(
        found.name,
        context.actor.role,
        found.must_change,
        found.totp,
        await second_factor.left(context.redis, found.name),
        found.created,
        found.last_login,
    )


@operation("POST", "/account/password", EVERYBODY)
async def change_password(
    context: Context, *, old: Annotated[str, PRESENT], new: Annotated[str, CHOSEN]
) -> None:
    """Choose another password; it ends all one's sessions, also this one."""
    await _prove(context, "old", old)
    if new == old:
        raise Invalid({"new": "must be another one than before"})
    await users.set_password(context.redis, context.actor.name, new)


@operation("POST", "/account/totp", EVERYBODY)
async def begin_totp(context: Context, *, password: Annotated[str, PRESENT]) -> Enrolment:
    """Set up an app for codes; they are wanted at logins once a first one has confirmed it."""
    await _prove(context, "password", password)
    return await second_factor.begin(context.redis, context.actor.name, f"D4 {socket.gethostname()}")


@operation("POST", "/account/totp/confirm", EVERYBODY)
async def confirm_totp(context: Context, *, code: Annotated[str, CODE]) -> RecoveryCodes:
    """Confirm the app by the code that it shows; recovery codes are in the answer, and nowhere else."""
    _session_of(context)
    codes = await second_factor.confirm(context.redis, context.actor.name, code)
    if codes is None:
        raise Invalid({"code": "is not the one that the app shows now"})
    return RecoveryCodes(codes)


@operation("POST", "/account/totp/remove", EVERYBODY)
async def remove_totp(context: Context, *, password: Annotated[str, PRESENT]) -> None:
    """Have the password be enough."""
    await _prove(context, "password", password)
    await second_factor.remove(context.redis, context.actor.name)


@operation("GET", "/account/sessions", EVERYBODY)
async def sessions(context: Context) -> list[OwnSession]:
    """Where one is logged in, the newest first."""
    found = await listed(context.redis, context.actor.name)
    return [OwnSession(*each, current=context.actor.means == f"session {each.id}") for each in found]


@operation("DELETE", "/account/sessions/{id}", EVERYBODY)
async def end_session(context: Context, *, id: Annotated[str, SESSION]) -> None:
    """End one of one's sessions."""
    if not await end(context.redis, context.actor.name, id):
        raise Missing(f"there is no session {id}, or it has ended")


def _session_of(context: Context) -> str:
    """The id of the session that asks. Raises Forbidden where it is none."""
    means, _, id = context.actor.means.partition(" ")
    if means != "session":
        raise Forbidden("only who has logged in on the page can do that")
    return id


async def _prove(context: Context, name: str, password: str) -> None:
    """Has whoever asks know the password, so that a session that was stolen is not enough.

    Raises Invalid, which names the parameter, and Failed where too many were wrong: that ends the session.
    """
    id = _session_of(context)
    standing = await users.standing(context.redis, context.actor.name)
    if standing is None or not await may_try(context.redis, id):
        raise Failed("too many passwords were wrong, so this session has ended; log in again")
    if not await passwords.aside(passwords.matches, standing.hash, password):
        await audit.write(context.redis, context.actor, "account.password", {"wrong": "password"}, REFUSED)
        raise Invalid({name: "is not right"})
    await was_right(context.redis, id)
