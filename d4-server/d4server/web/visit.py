"""What a page is given: who asks, what they sent, and how to answer."""

from __future__ import annotations

import hmac
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

from aiohttp import web

from d4server.entrance import Entrance
from d4server.operations import Actor, Context, all_operations, perform
from d4server.sessions import Session
from d4server.web.rendering import Pages

Handler = Callable[["Visit"], Awaitable[web.StreamResponse]]


MOST_FIELDS = 100
"""Of a form."""

DONE: dict[str, str] = {}
"""By operation, the sentence that says that it was done."""


class Route(NamedTuple):
    """A page: what answers to a method and a path, whose parts in braces are the visit's ``names``.

    Somebody who must change the password first is sent there, unless the page is ``always`` open.
    """

    method: str
    path: str
    handler: Handler
    always: bool = False


@dataclass(frozen=True)
class Visit:
    """One request of somebody who has logged in."""

    request: web.Request
    pages: Pages
    context: Context
    session: Session
    entrance: Entrance
    form: Mapping[str, str] = field(default_factory=dict)
    """What was sent, of a POST."""

    @property
    def actor(self) -> Actor:
        """Who asks."""
        return self.context.actor

    @property
    def csrf(self) -> str:
        """What each form sends back, so that only our own can be sent."""
        return self.session.csrf

    def own_form(self) -> bool:
        """Whether what was sent is a form of this session."""
        return hmac.compare_digest(self.form.get("csrf", "").encode(), self.csrf.encode())

    @property
    def notice(self) -> str:
        """What was done just before, if anything: see go_to()."""
        return DONE.get(self.query.get("done", ""), "")

    @property
    def names(self) -> Mapping[str, str]:
        """What stands in the path for what the route has in braces."""
        return dict(self.request.match_info)

    @property
    def query(self) -> dict[str, str]:
        """What stands behind the question mark, but for what is empty."""
        return {name: value for name, value in self.request.query.items() if value}

    def may(self, operation: str) -> bool:
        """Whether the visitor's role allows an operation."""
        found = all_operations().get(operation)
        return found is not None and self.actor.role in found.roles

    def asked(self, operation: str) -> dict[str, str]:
        """What stands behind the question mark that an operation takes."""
        taken = {parameter.name for parameter in all_operations()[operation].parameters}
        return {name: value for name, value in self.query.items() if name in taken}

    async def perform(self, operation: str, **values: Any) -> Any:
        """Does it. Raises Failed and its kin, and what redis-py raises."""
        return await perform(self.context, operation, values)

    def show(self, template: str, status: int = 200, **values: Any) -> web.Response:
        """A page; templates know the visit as ``visit``."""
        return self.pages.show(self.request, template, status, visit=self, **values)

    def here(self, **changes: Any) -> str:
        """This page's address with other values behind the question mark; None leaves one out."""
        query = {**self.query, **changes}
        query.pop("done", None)
        kept = {name: value for name, value in query.items() if value is not None}
        path: str = self.request.path
        return path + ("?" + urlencode(kept) if kept else "")


def go_to(path: str, **query: str) -> web.Response:
    """Sends the browser to one of our own pages; ``done`` names the operation of which it shall say so."""
    where = f"{path}?{urlencode(query)}" if query else path
    return web.Response(status=303, headers={"Location": where})


def own_path(text: str) -> str:
    """A path of ours that somebody sent, to go on there; the overview's for anything else."""
    return text if re.fullmatch(r"/(?![/\\])[!-~]*", text) else "/"


def path_of(request: web.Request) -> str:
    """What was asked for, with what stands behind the question mark."""
    return str(request.rel_url)


def address_of(request: web.Request) -> str:
    """From where it comes: an IPv4 address as such, also where the socket takes IPv6."""
    return (request.remote or "").removeprefix("::ffff:")


def agent_of(request: web.Request) -> str:
    """What the browser calls itself."""
    agent: str = request.headers.get("User-Agent", "")
    return agent


async def form_of(request: web.Request) -> dict[str, str]:
    """What a form says. Raises 400 and 413."""
    if request.method != "POST":
        return {}
    try:
        pairs = parse_qsl(
            (await request.read()).decode(errors="replace"),
            keep_blank_values=True,
            max_num_fields=MOST_FIELDS,
        )
    except ValueError:
        raise web.HTTPBadRequest from None
    return dict(pairs)
