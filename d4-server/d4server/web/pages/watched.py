"""Sensors that are watched: who has been silent for longer than the limit, and who has not."""

from __future__ import annotations

from aiohttp import web

from d4server.operations.sensors import known_sensors
from d4server.web import lists
from d4server.web.visit import Route, Visit


async def listed(visit: Visit) -> web.StreamResponse:
    """All that are watched, the longest silent first."""
    watched, known = await visit.perform("sensors.watched"), await known_sensors(visit.context)
    # A sensor that was added a moment ago is not among those that are known.
    names = {each.sensor: known[each.sensor].name if each.sensor in known else "" for each in watched}
    found = lists.searched(visit, watched, lambda each: f"{names[each.sensor]} {each.sensor}")
    found.sort(key=lambda each: (not each.exceeded, -each.silent))
    return visit.show("watched.html", found=lists.part(visit, found), names=names)


ROUTES = [Route("GET", "/sensors/watched", listed)]
