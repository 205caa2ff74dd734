"""What everybody does with their own visit: another password, another theme, the end of it."""

from __future__ import annotations

from aiohttp import web

from d4common import passwords
from d4server.operations import Failed, Invalid
from d4server.web import login
from d4server.web.rendering import THEME_COOKIE, THEMES
from d4server.web.visit import DONE, Route, Visit, agent_of, go_to, own_path

YEAR = 365 * 86400
"""Seconds."""

CHANGE = "account.change_password"
DONE[CHANGE] = "Your password is changed, and your other sessions have ended."


async def ask_password(visit: Visit) -> web.StreamResponse:
    """The form for another password."""
    return _password_form(visit)


async def change_password(visit: Visit) -> web.StreamResponse:
    """The form, sent. All sessions end with the old password, so that this one begins anew."""
    old, new = visit.form.get("old", ""), visit.form.get("new", "")
    if new != visit.form.get("again"):
        return _password_form(visit, {"again": "Is not the same as the new one"})
    try:
        await visit.perform(CHANGE, old=old, new=new)
    except Invalid as error:
        return _password_form(visit, error.problems)
    except Failed as error:
        return _password_form(visit, {"old": str(error)})
    answer = go_to("/", done=CHANGE)
    opened = await visit.entrance.again(visit.actor.address, visit.actor.name, agent_of(visit.request))
    login.keep(answer, opened)
    return answer


async def theme(visit: Visit) -> web.StreamResponse:
    """Remembers in the browser how pages shall look."""
    answer = go_to(own_path(visit.form.get("back", "")))
    chosen = visit.form.get("theme", "")
    if chosen in THEMES:
        answer.set_cookie(
            THEME_COOKIE, chosen, max_age=YEAR, path="/", secure=True, httponly=True, samesite="Strict"
        )
    return answer


async def log_out(visit: Visit) -> web.StreamResponse:
    """Ends the session."""
    await visit.entrance.log_out(login.token_of(visit.request))
    answer = go_to("/login")
    login.forget(answer)
    return answer


def _password_form(visit: Visit, problems: dict[str, str] | None = None) -> web.Response:
    status = 422 if problems else 200
    return visit.show("password.html", status, problems=problems or {}, least=passwords.LEAST_LENGTH)


ROUTES = [
    Route("GET", "/password", ask_password, always=True),
    Route("POST", "/password", change_password, always=True),
    Route("POST", "/theme", theme, always=True),
    Route("POST", "/logout", log_out, always=True),
]
