"""How the server is, on one page."""

from __future__ import annotations

from aiohttp import web

from d4server.web import charts
from d4server.web.visit import Route, Visit, go_to

SOON = 30 * 86400
"""Seconds before its end from which on a certificate is warned of."""

MOST_QUEUES = 20
"""Queues that are shown, those that are furthest behind."""


async def overview(visit: Visit) -> web.StreamResponse:
    """What came, who is there, what was refused, what waits, what runs out; for who may see that."""
    if not visit.may("overview.show"):
        return go_to("/profile")
    found = await visit.perform("overview.show")
    left = None if found.certificate_end is None else found.certificate_end - found.now
    return visit.show(
        "overview.html",
        found=found,
        most_queues=MOST_QUEUES,
        today=found.days[-1].volumes,
        traffic=charts.of_days(found.days),
        certificate_left=left,
        certificate_soon=left is not None and left < SOON,
    )


ROUTES = [Route("GET", "/", overview)]
