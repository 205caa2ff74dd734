"""The blacklist: who is on it, and who comes on and off it."""

from __future__ import annotations

from aiohttp import web

from d4server.web import actions
from d4server.web.actions import Action
from d4server.web.visit import Route, Visit

ACTIONS = (
    Action(
        "blacklist.add",
        path="/blacklist/add",
        title="Lock somebody out",
        words="Connections are closed within seconds, and no other is let in before this is taken back.",
        hints={"entry": "Such as 192.0.2.7, 192.0.2.0/24, 2001:db8::/32, or the UUID of a sensor."},
        button="Lock out",
        back="/blacklist",
        done="It is on the blacklist.",
        destroys=True,
    ),
    Action(
        "blacklist.remove",
        path="/blacklist/remove",
        title="Let somebody in again",
        words="Sensors must be approved all the same.",
        button="Let in",
        back="/blacklist",
        done="It is off the blacklist.",
    ),
)


async def listed(visit: Visit) -> web.StreamResponse:
    """Entries that a search has found."""
    found = await visit.perform("blacklist.list", **visit.asked("blacklist.list"))
    return visit.show("blacklist.html", found=found)


ROUTES = [Route("GET", "/blacklist", listed), *actions.routes(ACTIONS)]
