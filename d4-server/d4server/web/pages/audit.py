"""The audit trail: who did what, from where, and who was not let."""

from __future__ import annotations

import json

from aiohttp import web

from d4server.audit import DONE, REFUSED
from d4server.web.visit import Route, Visit


async def listed(visit: Visit) -> web.StreamResponse:
    """Entries that a search has found, the newest first."""
    asked = visit.asked("audit.list")
    found = await visit.perform("audit.list", **asked)
    return visit.show(
        "audit.html",
        found=found,
        values=[_values(each.values) for each in found.items],
        outcome=asked.get("outcome", DONE),
        outcomes=(DONE, REFUSED),
    )


def _values(text: str) -> dict[str, str]:
    """What an entry says with what it was done; whatever else stands there, as it is."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"values": text}


ROUTES = [Route("GET", "/audit", listed)]
