"""Types and meta types: which are accepted, and what is decided on one."""

from __future__ import annotations

from aiohttp import web

from d4server.types import is_meta
from d4server.web import actions, lists
from d4server.web.actions import Action
from d4server.web.visit import Route, Visit

ONE = "/types/{type}"

ACTIONS = (
    Action(
        "types.accept",
        path="/types/accept",
        title="Accept a type",
        words="Every server takes data of it within 2 seconds, whatever the configuration says.",
        hints={
            "type": "A number from 1 to 254. What type 254 holds has a name as well.",
            "name": "What meta headers say, such as maltrail; types 2 and 254 are accepted with it.",
            "description": "What it is, and who sends it.",
        },
        button="Accept",
        back="/types",
        done="The type is accepted.",
    ),
    Action(
        "types.refuse",
        path=f"{ONE}/refuse",
        title="Refuse a type",
        words="Connections that bring it are closed, and sensors that send it are not let in with it. "
        "What is stored of it stays, and its queues go on to give it out.",
        reads="types.show",
        button="Refuse",
        back="/types",
        done="The type is refused.",
        destroys=True,
    ),
    Action(
        "types.describe",
        path=f"{ONE}/describe",
        title="Describe a type",
        hints={"description": "What it is, and who sends it; empty to say nothing."},
        reads="types.show",
        button="Save",
        back="/types",
        done="The description is saved.",
    ),
    Action(
        "types.forget",
        path=f"{ONE}/forget",
        title="Leave a type to the configuration",
        words="What was decided here is taken back, and its description is gone. "
        "The type is accepted or refused as `types` and `meta_types` in `server.conf` say.",
        reads="types.show",
        button="Leave it",
        back="/types",
        done="The type is as the configuration has it.",
        destroys=True,
    ),
)


async def listed(visit: Visit) -> web.StreamResponse:
    """All types, numbers first."""
    types = await visit.perform("types.list")
    found = lists.searched(visit, types, lambda each: f"{each.name} {each.description}")
    metas = {each.name for each in found if is_meta(each.name)}
    return visit.show("types.html", found=lists.part(visit, found), metas=metas)


ROUTES = [Route("GET", "/types", listed), *actions.routes(ACTIONS)]
