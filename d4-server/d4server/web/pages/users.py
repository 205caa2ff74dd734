"""Users: the list, one of them, and what an admin does with one."""

from __future__ import annotations

from aiohttp import web

from d4server.web import actions
from d4server.web.actions import Action
from d4server.web.visit import Route, Visit

ONE = "/users/{name}"

SECRET_WORDS = "Hand it over. Whoever logs in with it must choose another one first."

ACTIONS = (
    Action(
        "users.create",
        path="/users/-/create",  # a dash is no user's name
        title="Create a user",
        words="A password is made, which is shown once.",
        hints={
            "name": "Small letters and digits, such as alice.",
            "role": "An admin may do all; an operator whatever is about sensors, queues and types; a viewer "
            "looks at that; a registrar registers sensors, which then wait for approval.",
        },
        button="Create",
        back="/users",
        after=ONE,
        done="The user is there.",
        secret="password",
        secret_words=SECRET_WORDS,
    ),
    Action(
        "users.set_role",
        path=f"{ONE}/role",
        title="Give a user another role",
        words="The user's sessions end; what tokens may do is bounded by the new role.",
        reads="users.show",
        button="Save",
        back=ONE,
        done="The user has this role.",
    ),
    Action(
        "users.reset_password",
        path=f"{ONE}/password",
        title="Reset a password",
        words="The password that the user has is worth nothing any more, and the user's sessions end. "
        "Another one is made, which is shown once.",
        reads="users.show",
        button="Reset",
        back=ONE,
        done="The user has another password.",
        secret="password",
        secret_words=SECRET_WORDS,
    ),
    Action(
        "users.remove_totp",
        path=f"{ONE}/totp/remove",
        title="Remove a second factor",
        words="The password is enough from then on. This is for who has lost the app for codes and the "
        "recovery codes.",
        reads="users.show",
        button="Remove",
        back=ONE,
        done="The second factor is removed.",
        destroys=True,
    ),
    Action(
        "users.disable",
        path=f"{ONE}/disable",
        title="Disable a user",
        words="The user's sessions end, and neither the user nor the user's tokens are let in any more.",
        reads="users.show",
        button="Disable",
        back=ONE,
        done="The user is disabled.",
        destroys=True,
    ),
    Action(
        "users.enable",
        path=f"{ONE}/enable",
        title="Enable a user",
        words="The user may log in again, and the user's tokens are good again.",
        reads="users.show",
        button="Enable",
        back=ONE,
        done="The user may log in.",
    ),
    Action(
        "users.delete",
        path=f"{ONE}/delete",
        title="Delete a user",
        words="The user's sessions and tokens are gone with it. What the user did stays in the audit trail.",
        reads="users.show",
        button="Delete",
        back=ONE,
        after="/users",
        done="The user is deleted.",
        destroys=True,
    ),
    Action(
        "users.end_session",
        path=f"{ONE}/sessions/{{id}}/end",
        title="End a session",
        words="Whoever uses it must log in again.",
        button="End it",
        back=ONE,
        done="The session has ended.",
        destroys=True,
    ),
)


async def listed(visit: Visit) -> web.StreamResponse:
    """Those that a search has found."""
    return visit.show("users.html", found=await visit.perform("users.list", **visit.asked("users.list")))


async def one(visit: Visit) -> web.StreamResponse:
    """A user, and where that one is logged in."""
    return visit.show(
        "user.html",
        user=await visit.perform("users.show", **visit.names),
        sessions=await visit.perform("users.sessions", **visit.names),
    )


ROUTES = [Route("GET", "/users", listed), *actions.routes(ACTIONS), Route("GET", ONE, one)]
