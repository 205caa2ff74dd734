"""The API: every operation by its method and path, with JSON in and out, for who has a token."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any

from aiohttp import web
from redis.asyncio import Redis
from redis.exceptions import RedisError

from d4common import redis_client
from d4common.logins import TooManyAttempts
from d4server import tokens
from d4server.actor import Actor
from d4server.operations import (
    Context,
    Failed,
    Forbidden,
    Invalid,
    Missing,
    Operation,
    all_operations,
    perform,
)
from d4server.operations.results import to_json
from d4server.web import openapi

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

DOCUMENT = "/openapi.json"

_STATUS: dict[type[Failed], HTTPStatus] = {
    Invalid: HTTPStatus.BAD_REQUEST,
    Forbidden: HTTPStatus.FORBIDDEN,
    Missing: HTTPStatus.NOT_FOUND,
    Failed: HTTPStatus.CONFLICT,
}


def application(redis: Redis, context_of: Callable[[Actor], Context]) -> web.Application:
    """All routes, for add_subapp() under openapi.PREFIX; what is unknown there is answered as a problem."""
    made = web.Application(middlewares=[_problems])
    document = json.dumps(openapi.document(all_operations().values()))
    made.router.add_get(DOCUMENT, partial(_document, document), allow_head=False)
    for operation in all_operations().values():
        handler = partial(_answer, operation, redis, context_of)
        made.router.add_route(operation.method, operation.path, handler)
    return made


async def _document(document: str, request: web.Request) -> web.StreamResponse:
    return web.json_response(text=document)


async def _answer(
    operation: Operation, redis: Redis, context_of: Callable[[Actor], Context], request: web.Request
) -> web.StreamResponse:
    """What comes of an operation. Raises what _problems() answers."""
    actor = await _actor(redis, request)
    values = await _values(operation, request)
    result = await perform(context_of(actor), operation.name, values)
    if operation.result is type(None):
        return web.Response(status=HTTPStatus.NO_CONTENT)
    return web.json_response(to_json(result))


async def _actor(redis: Redis, request: web.Request) -> Actor:
    """Whose token the request has. Raises 401."""
    given = request.headers.get("Authorization", "").strip()
    scheme, _, rest = given.partition(" ")
    token = rest.strip() if scheme.lower() == "bearer" else given
    actor = await tokens.actor_of_token(redis, token, request.remote or "") if token else None
    if actor is None:
        said = "the token is not valid" if token else "a token is missing"
        headers = {"WWW-Authenticate": 'Bearer realm="d4-server"'}
        raise web.HTTPUnauthorized(text=f"{said}: send one as Authorization: Bearer TOKEN", headers=headers)
    return actor


async def _values(operation: Operation, request: web.Request) -> dict[str, Any]:
    """What was given: in the path, and as query or JSON. Raises Invalid, 413 and 415."""
    given = await _json(request) if openapi.has_body(operation) else _query(request)
    twice = given.keys() & openapi.in_path(operation)
    if twice:
        raise Invalid(dict.fromkeys(twice, "stands in the path already"))
    return {**given, **request.match_info}


def _query(request: web.Request) -> dict[str, Any]:
    several = {name for name in request.query if len(request.query.getall(name)) > 1}
    if several:
        raise Invalid(dict.fromkeys(several, "is given more than once"))
    return dict(request.query)


async def _json(request: web.Request) -> dict[str, Any]:
    body = await request.read()
    if not body:
        return {}
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="the body must be JSON: Content-Type: application/json")
    try:
        found = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise web.HTTPBadRequest(text="the body is not JSON") from None
    if not isinstance(found, dict):
        raise web.HTTPBadRequest(text="the body must be an object of JSON")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


@web.middleware  # type: ignore[misc]
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers with a problem (RFC 9457) what cannot be."""
    try:
        return await handler(request)
    except Invalid as error:
        return problem(HTTPStatus.BAD_REQUEST, str(error), errors=error.problems)
    except Failed as error:
        return problem(_STATUS[type(error)], str(error))
    except TooManyAttempts:
        return problem(HTTPStatus.TOO_MANY_REQUESTS, "too many wrong tokens came from this address: wait")
    except RedisError as error:
        log.error("Redis does not answer %s: %s", request.path, redis_client.explain(error))
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, "Redis does not answer")
    except OSError as error:
        log.error("Redis does not answer %s: %s", request.path, error)
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, "Redis does not answer")
    except web.HTTPException as error:
        status = HTTPStatus(error.status)
        text = status.description if error.text == f"{error.status}: {error.reason}" else error.text
        kept = {name: error.headers[name] for name in ("Allow", "WWW-Authenticate") if name in error.headers}
        return problem(status, text or status.phrase, kept)


def problem(
    status: HTTPStatus,
    detail: str,
    headers: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
) -> web.Response:
    """A problem as JSON; ``errors`` has a sentence for each field that is wrong."""
    said = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail}
    more = {"errors": dict(errors)} if errors else {}
    return web.json_response(
        {**said, **more}, status=status.value, headers=headers, content_type=openapi.PROBLEM
    )
