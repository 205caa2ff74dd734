"""Tokens for programs that use the API: the list, another one, and one less."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from d4server.actor import Role
from d4server.web import actions
from d4server.web.actions import Action
from d4server.web.forms import Field
from d4server.web.visit import Route, Visit


def _boxes(visit: Visit, fields: Sequence[Field]) -> list[Field]:
    """What is of use to the visitor: admins alone make tokens for others; no role is above one's own."""
    role = visit.actor.role
    covered = tuple(each for each in Role if role.covers(each))
    return [
        each._replace(choices=covered, value=each.value or Role.VIEWER) if each.name == "role" else each
        for each in fields
        if each.name != "user" or role is Role.ADMIN
    ]


ACTIONS = (
    Action(
        "tokens.create",
        path="/tokens/create",
        title="Make a token for the API",
        words="A program that has it may do what its role may, for so long as its user may do that too.",
        hints={
            "name": "What the token is for.",
            "valid": "Such as 1h, 90d or 365d.",
            "user": "Empty for yourself.",
        },
        boxes=_boxes,
        button="Make a token",
        back="/tokens",
        done="The token is made.",
        secret="token",
        secret_words="Programs send it as `Authorization: Bearer TOKEN`.",
    ),
    Action(
        "tokens.revoke",
        path="/tokens/{id}/revoke",
        title="Revoke a token",
        words="Whatever program has it is not let in any more.",
        button="Revoke",
        back="/tokens",
        done="The token is revoked.",
        destroys=True,
    ),
)


async def listed(visit: Visit) -> web.StreamResponse:
    """One's own, and for an admin those of all users."""
    return visit.show("tokens.html", found=await visit.perform("tokens.list", **visit.asked("tokens.list")))


ROUTES = [Route("GET", "/tokens", listed), *actions.routes(ACTIONS)]
