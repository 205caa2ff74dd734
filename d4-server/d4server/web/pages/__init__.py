"""A room for each page, or for pages of one subject: each names its routes in ROUTES."""

from __future__ import annotations

from d4server.web.pages import account, blacklist, enrolment, groups, overview, sensors

ROOMS = (overview, enrolment, groups, sensors, blacklist, account)

ROUTES = [route for room in ROOMS for route in room.ROUTES]
