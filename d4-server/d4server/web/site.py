"""All pages and the API as one application: who may come in, what is refused, and how it is said."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path

from aiohttp import web
from redis.asyncio import Redis
from redis.exceptions import RedisError

from d4common import redis_client
from d4common.journal import Repeats
from d4server import sessions, users
from d4server.config import ServerConfig
from d4server.entrance import Entrance
from d4server.operations import Actor, Context, Failed
from d4server.roster import Roster
from d4server.web import api, headers, openapi
from d4server.web.errors import Errors
from d4server.web.login import Login, token_of
from d4server.web.pages import ROUTES
from d4server.web.rendering import Pages
from d4server.web.throttle import Throttle
from d4server.web.visit import Route, Visit, address_of, form_of, go_to, path_of

log = logging.getLogger(__name__)

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

STATIC = Path(__file__).with_name("static")
BOOTSTRAP = Path("/usr/share/javascript/bootstrap5/css/bootstrap.min.css")
"""From Debian's libjs-bootstrap5; the one file that is served of it, since the directory is full of links."""

REFRESH = "X-Refresh"
"""Header of what a page asks for by itself."""

RETRY_INTERVAL = 2.0
"""Seconds between two tries of what must be done before anybody can log in."""

LARGEST_BODY = 256 << 10
"""Bytes."""


class Site:
    """What one process serves."""

    def __init__(self, redis: Redis, settings: ServerConfig) -> None:
        self.settings = settings
        """Replaced at a reload."""
        self.answered = self.throttled = 0
        """Requests, and those that were one too many."""
        self._redis = redis
        self._pages = Pages()
        self._errors = Errors(self._pages)
        self._entrance = Entrance(redis)
        self._roster = Roster(redis, settings.d4.statistics_days)
        self._throttle = Throttle()
        self._complaints = Repeats()

    def application(self) -> web.Application:
        """All routes."""
        application = web.Application(middlewares=[self._guard], client_max_size=LARGEST_BODY)
        application.on_response_prepare.append(headers.add)
        application.add_routes(
            [
                web.get(f"{headers.STATIC}bootstrap.css", _bootstrap),
                web.static(headers.STATIC, STATIC),
                web.get("/ping", _ping),
                *Login(self._redis, self._pages, self._entrance).routes(),
                *(web.route(each.method, each.path, self._of_session(each)) for each in ROUTES),
            ]
        )
        application.add_subapp(openapi.PREFIX, api.application(self._redis, self._context_of))
        return application

    async def keep(self) -> None:
        """Makes the first admin where there is no user, and keeps fresh what lists are made of."""
        await self._make_first()
        await self._roster.keep()

    async def _make_first(self) -> None:
        """Tries until Redis answers."""
        while True:
            try:
                return await users.make_first(self._redis)
            except (RedisError, OSError) as error:
                self._complain("the first login", error)
            await asyncio.sleep(RETRY_INTERVAL)

    def _context_of(self, actor: Actor) -> Context:
        """What operations of somebody work with."""
        return Context(self._redis, self.settings, actor, self._roster)

    @web.middleware  # type: ignore[misc]
    async def _guard(self, request: web.Request, handler: Answer) -> web.StreamResponse:
        """What holds for every request: not too many, no form of another site, and errors in our words."""
        wait = self._throttle.take(address_of(request))
        if wait:
            self.throttled += 1
            return self._too_fast(request, wait)
        self.answered += 1
        of_api = request.path.startswith(openapi.PREFIX)
        try:
            if request.method == "POST" and not of_api and not headers.own_form(request):
                return self._errors.show(request, HTTPStatus.FORBIDDEN, "This form was sent by another site.")
            return await handler(request)
        except web.HTTPException as error:
            if of_api or error.status < 400:
                raise
            return self._errors.of_http(request, error)
        except (RedisError, OSError) as error:
            self._complain(request.path, error)
            return self._errors.redis_away(request)
        except Exception:
            log.exception("a fault in the page %s", request.path)
            return self._errors.show(request, HTTPStatus.INTERNAL_SERVER_ERROR)

    def _too_fast(self, request: web.Request, wait: float) -> web.Response:
        if request.path.startswith(openapi.PREFIX):
            answer = api.problem(HTTPStatus.TOO_MANY_REQUESTS, "too many requests come from this address")
        else:
            answer = self._errors.show(request, HTTPStatus.TOO_MANY_REQUESTS)
        answer.headers["Retry-After"] = str(math.ceil(wait))
        return answer

    def _complain(self, what: str, error: Exception) -> None:
        if self._complaints.held_back("redis") is not None:
            log.error("no answer for %s, Redis does not work: %s", what, redis_client.explain(error))

    def _of_session(self, route: Route) -> Answer:
        """What answers for a page: it itself, to who has logged in."""

        async def answer(request: web.Request) -> web.StreamResponse:
            used = REFRESH not in request.headers
            session = await sessions.session_of(self._redis, token_of(request), address_of(request), used)
            if session is None:
                return _to_login(request)
            if session.must_change and not route.always:
                return go_to("/password")
            context, form = self._context_of(session.actor), await form_of(request)
            visit = Visit(request, self._pages, context, session, self._entrance, form)
            if request.method == "POST" and not visit.own_form():
                return self._errors.show(request, HTTPStatus.FORBIDDEN, headers.STALE_FORM, visit)
            try:
                return await route.handler(visit)
            except Failed as error:
                return self._errors.of_operation(visit, error)
            except (RedisError, OSError) as error:
                self._complain(request.path, error)
                return self._errors.redis_away(request, visit)

        return answer


def _to_login(request: web.Request) -> web.StreamResponse:
    """To the login, and back from there to the page that was asked for."""
    return go_to("/login", next=path_of(request) if request.method == "GET" else "/")


async def _ping(request: web.Request) -> web.StreamResponse:
    """For who watches whether the page answers."""
    return web.Response(text="pong")


async def _bootstrap(request: web.Request) -> web.StreamResponse:
    """The style sheet that everything else is built on."""
    return web.FileResponse(BOOTSTRAP)
