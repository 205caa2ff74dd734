"""Groups of sensors: those that there are, another one, and one less."""

from __future__ import annotations

from aiohttp import web

from d4server.web import actions
from d4server.web.actions import Action
from d4server.web.visit import Route, Visit

ACTIONS = (
    Action(
        "groups.create",
        path="/sensors/groups/create",
        title="Make a group of sensors",
        words="A queue can be for the sensors of a group. A sensor comes into it on its own page.",
        button="Make a group",
        back="/sensors/groups",
        done="The group is made.",
    ),
    Action(
        "groups.delete",
        path="/sensors/groups/{name}/delete",
        title="Delete a group of sensors",
        words="Its sensors stay, and what they have sent.",
        button="Delete",
        back="/sensors/groups",
        done="The group is deleted.",
        destroys=True,
    ),
)


async def listed(visit: Visit) -> web.StreamResponse:
    """All groups."""
    return visit.show("groups.html", groups=await visit.perform("groups.list"))


ROUTES = [Route("GET", "/sensors/groups", listed), *actions.routes(ACTIONS)]
