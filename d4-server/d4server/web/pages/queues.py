"""Analyzer queues: the list, one of them, and what can be done with it."""

from __future__ import annotations

from aiohttp import web

from d4server.web import actions
from d4server.web.actions import Action
from d4server.web.visit import Route, Visit

ONE = "/queues/{name}"

GROUP = "Give out what the sensors of one group have sent, and no other; empty for all sensors."

ACTIONS = (
    Action(
        "queues.create",
        path="/queues/-/create",  # a dash is no queue's name
        title="Create a queue",
        words="A queue keeps what comes of one type until its exporter has taken it. "
        "Each queue gets everything, so that one more takes nothing from the others.",
        hints={
            "type": "A number, or a meta type's name.",
            "meta": "With type 254: what its meta header says, such as maltrail.",
            "name": "By which the exporter asks for it; empty to have a UUID made.",
            "group": GROUP,
            "description": "What takes from it, and whom to ask.",
        },
        suggests={"type": "types.list", "group": "groups.list"},
        makes="name",
        button="Create",
        back="/queues",
        after=ONE,
        done="The queue is there. Start an exporter that takes from it.",
    ),
    Action(
        "queues.describe",
        path=f"{ONE}/describe",
        title="Describe a queue",
        hints={"description": "What takes from it, and whom to ask; empty to say nothing."},
        reads="queues.show",
        button="Save",
        back=ONE,
        done="The description is saved.",
    ),
    Action(
        "queues.group",
        path=f"{ONE}/group",
        title="Give a queue a group of sensors",
        words="What other sensors have sent and send is passed over, and is lost to this queue.",
        hints={"group": GROUP},
        suggests={"group": "groups.list"},
        reads="queues.show",
        button="Save",
        back=ONE,
        done="The queue's group is set.",
    ),
    Action(
        "queues.cap",
        path=f"{ONE}/cap",
        title="Cap what waits in a queue",
        words="What is beyond the cap is dropped, the oldest first, and counted. Without one, a queue from "
        "which nobody takes fills Redis, and then sensors must wait.",
        hints={
            "entries": "What one packet completed is an entry, of many records as a rule; 0 for no bound.",
            "bytes": "Memory of Redis, such as 500M or 2G; 0 for no bound.",
        },
        reads="queues.show",
        called={"entries": "cap_entries", "bytes": "cap_bytes"},
        button="Save",
        back=ONE,
        done="The cap is set.",
    ),
    Action(
        "queues.pause",
        path=f"{ONE}/pause",
        title="Pause a queue",
        words="Its exporters stay and are given nothing. What comes waits, and takes memory of Redis.",
        reads="queues.show",
        button="Pause",
        back=ONE,
        done="The queue is paused.",
    ),
    Action(
        "queues.resume",
        path=f"{ONE}/resume",
        title="Resume a queue",
        words="Its exporters get what has waited, the oldest first, and what comes.",
        reads="queues.show",
        button="Resume",
        back=ONE,
        done="The queue goes on.",
    ),
    Action(
        "queues.empty",
        path=f"{ONE}/empty",
        title="Empty a queue",
        words="All that waits in it is thrown away, unseen. The queue stays, and so do other queues.",
        template="queue_confirm.html",
        reads="queues.show",
        button="Throw it away",
        back=ONE,
        done="The queue is empty.",
        destroys=True,
    ),
    Action(
        "queues.delete",
        path=f"{ONE}/delete",
        title="Delete a queue",
        words="What waits in it is lost, and what is set of it. Its exporters wait until there is a queue of "
        "this name again.",
        template="queue_confirm.html",
        reads="queues.show",
        button="Delete",
        back=ONE,
        after="/queues",
        done="The queue is deleted.",
        destroys=True,
    ),
)


async def listed(visit: Visit) -> web.StreamResponse:
    """Those that a search has found."""
    return visit.show("queues.html", found=await visit.perform("queues.list", **visit.asked("queues.list")))


async def one(visit: Visit) -> web.StreamResponse:
    """A queue: what is set of it, how far behind it is, who takes from it, and its last records."""
    return visit.show(
        "queue.html",
        queue=await visit.perform("queues.show", **visit.names),
        consumers=await visit.perform("queues.consumers", **visit.names),
        records=await visit.perform("queues.sample", **visit.names),
    )


ROUTES = [Route("GET", "/queues", listed), *actions.routes(ACTIONS), Route("GET", ONE, one)]
