"""The pages for who has not logged in: the password, and the code of the second factor where there is one."""

from __future__ import annotations

import hmac
import secrets
from functools import partial
from hashlib import sha256
from http import HTTPStatus

from aiohttp import web
from redis.asyncio import Redis

from d4common.logins import TooManyAttempts
from d4server import sessions
from d4server.entrance import Entrance, Opened
from d4server.web import headers
from d4server.web.rendering import Pages
from d4server.web.visit import address_of, agent_of, form_of, go_to, own_path

COOKIE = "__Host-d4-session"
FORM_COOKIE = "__Host-d4-login"
"""What the login's forms are bound to, since there is no session yet."""

WRONG = "That user or password is not right."
WRONG_CODE = "That code is not right, or was used before."
TOO_MANY = "Too many attempts at once. Wait a minute."
TOO_LATE = "That took too long, or too many tries. Log in again."


class Login:
    """Both steps of it."""

    def __init__(self, redis: Redis, pages: Pages, entrance: Entrance) -> None:
        self._redis = redis
        self._pages = pages
        self._entrance = entrance

    def routes(self) -> list[web.RouteDef]:
        """The pages."""
        return [
            web.get("/login", self._ask),
            web.post("/login", self._try),
            web.get("/login/code", self._ask_code),
            web.post("/login/code", self._try_code),
        ]

    async def _ask(self, request: web.Request) -> web.StreamResponse:
        """The form for user and password."""
        if await sessions.session_of(self._redis, token_of(request), address_of(request)):
            return go_to("/")
        return self._form(request, "login.html", next=own_path(request.query.get("next", "")))

    async def _try(self, request: web.Request) -> web.StreamResponse:
        """User and password."""
        form = await form_of(request)
        name, next = form.get("user", ""), own_path(form.get("next", ""))
        again = partial(self._form, request, "login.html", user=name, next=next)
        if not _is_ours(request, form.get("csrf", "")):
            return again(HTTPStatus.FORBIDDEN, problem=headers.STALE_FORM)
        try:
            opened = await self._entrance.log_in(
                address_of(request), name, form.get("password", ""), agent_of(request)
            )
        except TooManyAttempts:
            return again(HTTPStatus.TOO_MANY_REQUESTS, problem=TOO_MANY)
        if opened is None:
            return again(HTTPStatus.UNAUTHORIZED, problem=WRONG)
        return _let_in(opened, next)

    async def _ask_code(self, request: web.Request) -> web.StreamResponse:
        """The form for the code."""
        if await sessions.half_of(self._redis, token_of(request)) is None:
            return go_to("/login")
        return self._form(request, "login_code.html", next=own_path(request.query.get("next", "")))

    async def _try_code(self, request: web.Request) -> web.StreamResponse:
        """The code, or a recovery code."""
        form, token = await form_of(request), token_of(request)
        again = partial(self._form, request, next=own_path(form.get("next", "")))
        if not _is_ours(request, form.get("csrf", "")):
            return again("login_code.html", HTTPStatus.FORBIDDEN, problem=headers.STALE_FORM)
        opened = await self._entrance.give_code(
            address_of(request), token, form.get("code", ""), agent_of(request)
        )
        if opened is not None:
            return _let_in(opened, own_path(form.get("next", "")))
        if await sessions.half_of(self._redis, token) is None:
            return again("login.html", HTTPStatus.UNAUTHORIZED, problem=TOO_LATE)
        return again("login_code.html", HTTPStatus.UNAUTHORIZED, problem=WRONG_CODE)

    def _form(
        self,
        request: web.Request,
        template: str,
        status: HTTPStatus = HTTPStatus.OK,
        problem: str = "",
        user: str = "",
        next: str = "/",
    ) -> web.Response:
        """A form, and the cookie that it is bound to."""
        bound = request.cookies.get(FORM_COOKIE) or secrets.token_urlsafe(32)
        answer = self._pages.show(
            request, template, status.value, csrf=_csrf_of(bound), problem=problem, user=user, next=next
        )
        answer.set_cookie(FORM_COOKIE, bound, path="/", secure=True, httponly=True, samesite="Strict")
        return answer


def token_of(request: web.Request) -> str:
    """The session's token, if the browser has one."""
    token: str = request.cookies.get(COOKIE, "")
    return token


def keep(answer: web.Response, opened: Opened) -> None:
    """Has the browser keep a session's token."""
    answer.set_cookie(
        *(COOKIE, opened.token),
        max_age=sessions.LIFETIME,
        path="/",
        secure=True,
        httponly=True,
        samesite="Strict",
    )


def forget(answer: web.Response) -> None:
    """Has the browser forget it."""
    answer.set_cookie(COOKIE, "", max_age=0, path="/", secure=True, httponly=True, samesite="Strict")


def _let_in(opened: Opened, next: str) -> web.Response:
    answer = go_to("/login/code", next=next) if opened.needs_code else go_to(next)
    keep(answer, opened)
    return answer


def _is_ours(request: web.Request, csrf: str) -> bool:
    """Whether a form is one that this browser was given."""
    bound = request.cookies.get(FORM_COOKIE, "")
    return bool(bound) and hmac.compare_digest(_csrf_of(bound).encode(), csrf.encode())


def _csrf_of(bound: str) -> str:
    return sha256(bound.encode()).hexdigest()
