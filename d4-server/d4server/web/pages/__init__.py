"""A room for each page, or for pages of one subject: each names its routes in ROUTES."""

from __future__ import annotations

from d4server.web.pages import (
    account,
    audit,
    blacklist,
    enrolment,
    groups,
    overview,
    profile,
    queues,
    sensors,
    tokens,
    types,
    users,
    watched,
)

ROOMS = (
    *(overview, enrolment, groups, watched, sensors, queues, types, blacklist),
    *(users, audit, account, profile, tokens),
)

ROUTES = [route for room in ROOMS for route in room.ROUTES]
