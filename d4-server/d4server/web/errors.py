"""The pages that say what went wrong."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

from d4server.operations import Failed, Forbidden, Invalid, Missing
from d4server.web.rendering import Pages, capitalised
from d4server.web.visit import Visit

WORDS = {
    HTTPStatus.BAD_REQUEST: "The browser sent something that this server does not understand.",
    HTTPStatus.FORBIDDEN: "Your role does not allow it.",
    HTTPStatus.NOT_FOUND: "There is no such page, or what it was about has been removed.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This page cannot be used like that.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "That was more than this page takes.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many requests come from your address. Wait a few seconds.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "This page has a fault; the journal has it (`journalctl -u "
    "d4-server-web`). Nothing else has stopped.",
    HTTPStatus.SERVICE_UNAVAILABLE: "Redis, which holds all that this page shows, does not answer. On the "
    "server, `systemctl status redis-server@d4` says why. Sensors keep what they have and send it later.",
}

TITLES = {
    HTTPStatus.FORBIDDEN: "That is not for you",
    HTTPStatus.NOT_FOUND: "Not found",
    HTTPStatus.SERVICE_UNAVAILABLE: "Redis does not answer",
    HTTPStatus.TOO_MANY_REQUESTS: "Too fast",
}


class Errors:
    """With the frame around them for who has logged in, and alone for others."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def show(
        self, request: web.Request, status: HTTPStatus, words: str = "", visit: Visit | None = None
    ) -> web.Response:
        """The page for a status, in the usual words or others."""
        title = TITLES.get(status, "That did not work")
        words = words or WORDS.get(status, status.description or status.phrase)
        return self._pages.show(request, "error.html", status.value, title=title, words=words, visit=visit)

    def of_http(self, request: web.Request, error: web.HTTPException) -> web.Response:
        """What aiohttp refuses."""
        answer = self.show(request, HTTPStatus(error.status))
        if "Allow" in error.headers:
            answer.headers["Allow"] = error.headers["Allow"]
        return answer

    def of_operation(self, visit: Visit, error: Failed) -> web.Response:
        """What an operation refuses."""
        status = HTTPStatus.CONFLICT
        for kind, its in (
            (Forbidden, HTTPStatus.FORBIDDEN),
            (Missing, HTTPStatus.NOT_FOUND),
            (Invalid, HTTPStatus.BAD_REQUEST),
        ):
            if isinstance(error, kind):
                status = its
        return self.show(visit.request, status, capitalised(f"{error}."), visit)

    def redis_away(self, request: web.Request, visit: Visit | None = None) -> web.Response:
        """Nothing can be shown or done."""
        return self.show(request, HTTPStatus.SERVICE_UNAVAILABLE, visit=visit)
