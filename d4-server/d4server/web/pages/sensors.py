"""Sensors: the list, one of them, and what can be done with it."""

from __future__ import annotations

from aiohttp import web

from d4server.web import actions, charts
from d4server.web.actions import Action
from d4server.web.visit import Route, Visit

STATES = ("approved", "pending", "revoked")

ONE = "/sensors/{uuid}"

ACTIONS = (
    Action(
        "sensors.add",
        path="/sensors/add",
        title="Add a sensor",
        words="A sensor of this host is let in by itself, and others best by an enrolment token or approval. "
        "This is for a D4 client that has its UUID and key from elsewhere, or gets them by hand.",
        hints={
            "uuid": "Version 4; empty to have one made.",
            "key": "Empty to have one made, which is shown once.",
            "name": "What you call it.",
        },
        button="Add",
        back="/sensors",
        done="The sensor may connect.",
        secret="key",
        secret_words="Put both into the configuration of the sensor.",
    ),
    Action(
        "sensors.approve",
        path=f"{ONE}/approve",
        title="Approve a sensor",
        template="sensor_approve.html",
        reads="sensors.show",
        button="Approve",
        back=ONE,
        done="The sensor is approved; it gets its key within seconds if it waits for that.",
    ),
    Action(
        "sensors.rename",
        path=f"{ONE}/rename",
        title="Rename a sensor",
        reads="sensors.show",
        button="Rename",
        back=ONE,
        done="The sensor has its name.",
    ),
    Action(
        "sensors.describe",
        path=f"{ONE}/describe",
        title="Describe a sensor",
        hints={"description": "What it is, where it stands, whom to ask."},
        reads="sensors.show",
        button="Save",
        back=ONE,
        done="The description is saved.",
    ),
    Action(
        "sensors.group",
        path=f"{ONE}/group",
        title="Put a sensor into groups",
        words="Queues can be for the sensors of a group. The sensor leaves the groups that are not named.",
        hints={"groups": "Names with spaces between them, as the page of groups has them."},
        reads="sensors.show",
        button="Save",
        back=ONE,
        done="The sensor is in these groups.",
    ),
    Action(
        "sensors.watch",
        path=f"{ONE}/watch",
        title="Watch a sensor",
        words="It is told in the journal, and as [monitoring] in the configuration says, when the sensor is "
        "silent for longer than this, and when it is heard again.",
        hints={"silence": "Such as 10min or 2h; empty to have nothing told."},
        reads="sensors.show",
        button="Save",
        back=ONE,
        done="The limit of silence is set.",
    ),
    Action(
        "sensors.cap",
        path=f"{ONE}/cap",
        title="Cap what a sensor sends",
        words="Beyond so many bytes in a day (UTC) it is refused until the day is over; d4-sensor keeps what "
        "it has and sends it then.",
        hints={"bytes": "Such as 500M or 10G; empty for no cap."},
        reads="sensors.show",
        called={"bytes": "cap"},
        button="Save",
        back=ONE,
        done="The cap is set.",
    ),
    Action(
        "sensors.kick",
        path=f"{ONE}/kick",
        title="Kick a sensor",
        words="Its connections are closed, and it is not let in again for this time. What it has not sent "
        "by then stays with it.",
        hints={"span": "Such as 30s, 5min, 2h or 7d."},
        reads="sensors.show",
        button="Kick",
        back=ONE,
        done="The sensor's connections are closed.",
    ),
    Action(
        "sensors.rotate",
        path=f"{ONE}/rotate",
        title="Make another key for a sensor",
        words="The key that it has now stays valid for a day. Run `d4-sensor renew` on a d4-sensor instead: "
        "that changes the key at both ends.",
        reads="sensors.show",
        button="Make a key",
        back=ONE,
        done="The sensor has another key.",
        secret="key",
        secret_words="Put it into the configuration of the sensor within a day.",
    ),
    Action(
        "sensors.revoke",
        path=f"{ONE}/revoke",
        title="Revoke a sensor",
        words="It is locked out at once, its key is forgotten, and it cannot ask to be let in again. "
        "It stays on the list.",
        reads="sensors.show",
        button="Revoke",
        back=ONE,
        done="The sensor is revoked.",
        destroys=True,
    ),
    Action(
        "sensors.remove",
        path=f"{ONE}/remove",
        title="Remove a sensor",
        words="It is locked out at once and forgotten; it may ask to be let in again. "
        "What it has sent stays.",
        reads="sensors.show",
        button="Remove",
        back=ONE,
        after="/sensors",
        done="The sensor is removed.",
        destroys=True,
    ),
)


async def listed(visit: Visit) -> web.StreamResponse:
    """Those that a search has found."""
    found = await visit.perform("sensors.list", **visit.asked("sensors.list"))
    return visit.show("sensors.html", found=found, states=STATES)


async def one(visit: Visit) -> web.StreamResponse:
    """A sensor: what it has sent and from where, and what went wrong."""
    sensor = await visit.perform("sensors.show", **visit.names)
    return visit.show("sensor.html", sensor=sensor, traffic=charts.of_days(sensor.history))


ROUTES = [Route("GET", "/sensors", listed), *actions.routes(ACTIONS), Route("GET", ONE, one)]
