"""Enrolment tokens: those that can be used, another one, and one less."""

from __future__ import annotations

from aiohttp import web

from d4server.web import actions
from d4server.web.actions import Action
from d4server.web.visit import Route, Visit

ACTIONS = (
    Action(
        "enrolment.issue",
        path="/sensors/enrolment/issue",
        title="Make an enrolment token",
        words="It lets one sensor in without approval, once.",
        hints={
            "name": "What the sensor will be called; empty to have it called as it says itself.",
            "valid": "Such as 2h or 7d.",
        },
        button="Make a token",
        back="/sensors/enrolment",
        done="The token is made.",
        secret="token",
        secret_words="`d4-sensor enroll --token TOKEN SERVER`, on the sensor, lets it in.",
    ),
    Action(
        "enrolment.withdraw",
        path="/sensors/enrolment/{id}/withdraw",
        title="Withdraw an enrolment token",
        words="Token {id} lets nobody in any more. A sensor that has used it stays.",
        button="Withdraw",
        back="/sensors/enrolment",
        done="The token is withdrawn.",
        destroys=True,
    ),
)


async def listed(visit: Visit) -> web.StreamResponse:
    """Tokens that can be used."""
    return visit.show("enrolment.html", tokens=await visit.perform("enrolment.list"))


ROUTES = [Route("GET", "/sensors/enrolment", listed), *actions.routes(ACTIONS)]
