"""The web page and what tools may ask: routes, who may see what, and the headers of every answer."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Awaitable, Callable
from datetime import date
from functools import partial
from pathlib import Path
from time import time
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web
from jinja2 import Environment, PackageLoader

from d4common.logins import Logins, TooManyAttempts
from maltrailcollector import live, passwords
from maltrailcollector.daylog import day_of, days, path_of
from maltrailcollector.sessions import LIFETIME, Sessions

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

COOKIE = "maltrail_collector"
BOOTSTRAP = Path("/usr/share/javascript/bootstrap5/css/bootstrap.min.css")
"""From Debian's libjs-bootstrap5; the one file that is served of it, since the directory is full of links."""

LARGEST_FORM = 16 << 10
"""Bytes of a request's body."""

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with no-referrer, our own forms would come with the Origin null
    "Cross-Origin-Opener-Policy": "same-origin",
    "Server": "maltrail-collector",
}


class Site:
    """The pages over the logs in ``log_dir``; ``receives_on`` says, for people, where events come in."""

    def __init__(self, log_dir: Path, state_dir: Path, receives_on: str, stopping: asyncio.Event) -> None:
        self._log_dir = log_dir
        self._state_dir = state_dir
        self._receives_on = receives_on
        self._stopping = stopping
        self._sessions = Sessions()
        self._logins = Logins(self._hash_of)
        self._counts = live.LineCounts()
        self._templates = Environment(
            loader=PackageLoader("maltrailcollector"), autoescape=True, trim_blocks=True, lstrip_blocks=True
        )

    def application(self) -> web.Application:
        """All routes."""
        application = web.Application(middlewares=[_same_origin], client_max_size=LARGEST_FORM)
        application.on_response_prepare.append(_add_headers)
        application.add_routes(
            [
                web.get("/", self.page),
                web.get("/login", self.login_page),
                web.post("/login", self.login),
                web.post("/logout", self.logout),
                web.get("/live", self.live, allow_head=False),
                web.get("/events", self.events),
                web.get("/ping", ping),
                web.get("/static/bootstrap5/css/bootstrap.min.css", bootstrap),
                web.static("/static", Path(__file__).with_name("static")),
            ]
        )
        return application

    async def page(self, request: web.Request) -> web.StreamResponse:
        """A day's events; without a date, today's."""
        if not self._has_session(request):
            return _go_to("/login")
        today = day_of(int(time()))
        day = _date(request) or today
        logged = days(self._log_dir)
        return self._render(
            "day.html",
            day=day,
            today=today,
            earlier=next((other for other in logged if other < day), None),
            later=next((other for other in reversed(logged) if other > day), None),
            logged=[other for other in logged if other != day][:7],
            most=live.MOST_EVENTS,
            receives_on=self._receives_on,
        )

    async def login_page(self, request: web.Request) -> web.StreamResponse:
        """The form."""
        if self._has_session(request):
            return _go_to("/")
        return self._render("login.html", error=None)

    async def login(self, request: web.Request) -> web.StreamResponse:
        """The form, sent."""
        form = dict(parse_qsl((await request.read()).decode(errors="replace")))
        user, password = form.get("user", ""), form.get("password", "")
        try:
            hash = await self._logins.accept(request.remote or "", user, password)
        except TooManyAttempts:
            return self._render("login.html", 429, error="Too many attempts at once. Wait a minute.")
        if hash is None:
            return self._render("login.html", 401, error="That user or password is not right.")
        answer = _go_to("/")
        token = self._sessions.open(hash)
        answer.set_cookie(COOKIE, token, max_age=LIFETIME, httponly=True, samesite="Strict")
        return answer

    async def logout(self, request: web.Request) -> web.StreamResponse:
        """Ends the session."""
        self._sessions.close(request.cookies.get(COOKIE, ""))
        answer = _go_to("/login")
        answer.del_cookie(COOKIE)
        return answer

    async def live(self, request: web.Request) -> web.StreamResponse:
        """A day's events, followed: see the module ``live``."""
        if not self._has_session(request):
            raise web.HTTPUnauthorized(text="log in first\n")
        allowed = partial(self._has_session, request)
        return await live.stream(request, self._log_of(request), self._counts, allowed, self._stopping)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """A day's log as it is, for tools, with ranges; empty where there is none."""
        await self._require(request)
        path = self._log_of(request)
        if not path.exists():
            return web.Response(content_type="text/plain", charset="utf-8")
        return web.FileResponse(path, headers={"Content-Type": "text/plain; charset=utf-8"})

    def _hash(self) -> str | None:
        return passwords.stored(self._state_dir)

    async def _hash_of(self, user: str) -> str | None:
        return self._hash() if user == passwords.USER else None

    def _has_session(self, request: web.Request) -> bool:
        token = request.cookies.get(COOKIE)
        return token is not None and self._sessions.valid(token, self._hash())

    async def _require(self, request: web.Request) -> None:
        """Raises 401 for who has neither a session nor user and password (HTTP Basic, RFC 7617)."""
        if self._has_session(request):
            return
        credentials = _basic(request)
        try:
            if credentials and await self._logins.accept(request.remote or "", *credentials):
                return
        except TooManyAttempts:
            raise web.HTTPTooManyRequests(text="too many attempts at once: wait a minute\n") from None
        raise web.HTTPUnauthorized(
            text="log in, or send user and password (HTTP Basic)\n",
            headers={"WWW-Authenticate": 'Basic realm="maltrail-collector", charset="UTF-8"'},
        )

    def _log_of(self, request: web.Request) -> Path:
        return path_of(self._log_dir, _date(request) or day_of(int(time())))

    def _render(self, template: str, status: int = 200, **values: Any) -> web.Response:
        text = self._templates.get_template(template).render(values)
        return web.Response(text=text, status=status, content_type="text/html")


def _go_to(path: str) -> web.Response:
    return web.Response(status=303, headers={"Location": path})


async def ping(request: web.Request) -> web.StreamResponse:
    """For who watches whether the server answers."""
    return web.Response(text="pong")


async def bootstrap(request: web.Request) -> web.StreamResponse:
    """The style sheet that everything else is built on."""
    return web.FileResponse(BOOTSTRAP, headers={"Cache-Control": "max-age=86400"})


def _date(request: web.Request) -> str | None:
    """The date that was asked for, if any. Raises 400: it becomes part of a file's name."""
    text: str | None = request.query.get("date")
    if text is None:
        return None
    try:
        if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            raise ValueError
        date.fromisoformat(text)
    except ValueError:
        raise web.HTTPBadRequest(text="date must be a day such as 2026-11-24\n") from None
    return text


def _basic(request: web.Request) -> tuple[str, str] | None:
    """User and password of HTTP Basic authentication, UTF-8."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(token.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (user, password) if colon else None


@web.middleware  # type: ignore[misc]
async def _same_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses a form that another site's page sends with our visitor's browser."""
    if request.method == "POST":
        origin = request.headers.get("Origin")
        own = origin in (None, f"http://{request.host}", f"https://{request.host}")
        if not own or request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
            raise web.HTTPForbidden(text="this form was sent by another site\n")
    return await handler(request)


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)
    if not request.path.startswith("/static/"):
        response.headers["Cache-Control"] = "no-store"
