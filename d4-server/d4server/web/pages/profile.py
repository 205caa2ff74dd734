"""One's own account: the second factor, and where one is logged in."""

from __future__ import annotations

from aiohttp import web

from d4server.web import actions
from d4server.web.actions import Action
from d4server.web.visit import Route, Visit

ACTIONS = (
    Action(
        "account.begin_totp",
        path="/profile/totp",
        title="Set up a second factor",
        words="An app on your phone shows a code that each login then asks for, after the password.",
        button="Go on",
        back="/profile",
        after="/profile/totp/confirm",
        done="Add it to your app",
        secret="uri",
        shown_by="totp.html",
    ),
    Action(
        "account.confirm_totp",
        path="/profile/totp/confirm",
        title="Confirm the second factor",
        hints={"code": "The six digits that the app shows now."},
        button="Confirm",
        back="/profile",
        done="The second factor is on.",
        secret="codes",
        secret_words="Each of these lets you in once in place of a code, when the app is lost. "
        "Keep them where the phone is not.",
    ),
    Action(
        "account.remove_totp",
        path="/profile/totp/remove",
        title="Remove the second factor",
        words="The password is enough from then on. The recovery codes are worth nothing any more.",
        button="Remove",
        back="/profile",
        done="The second factor is removed.",
        destroys=True,
    ),
    Action(
        "account.end_session",
        path="/profile/sessions/{id}/end",
        title="End a session",
        words="Whoever uses it must log in again.",
        button="End it",
        back="/profile",
        done="The session has ended.",
        destroys=True,
    ),
)


async def profile(visit: Visit) -> web.StreamResponse:
    """Who one is here."""
    return visit.show(
        "profile.html",
        account=await visit.perform("account.show"),
        sessions=await visit.perform("account.sessions"),
    )


ROUTES = [Route("GET", "/profile", profile), *actions.routes(ACTIONS)]
