"""What every answer says to the browser, and which requests are refused for where they come from."""

from __future__ import annotations

from aiohttp import web

HEADERS = {
    "Strict-Transport-Security": "max-age=31536000",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with no-referrer, our own forms would come with the Origin null
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Server": "d4-server",
}

STATIC = "/static/"

STALE_FORM = "This form is too old, or cookies are off. Try again."
"""What is said where the token of a form is not right."""


async def add(request: web.Request, response: web.StreamResponse) -> None:
    """Adds them, to answers that are no page too."""
    response.headers.update(HEADERS)
    kept = request.path.startswith(STATIC) and response.status < 400
    response.headers["Cache-Control"] = "max-age=3600" if kept else "no-store"


def own_form(request: web.Request) -> bool:
    """Whether a POST comes from a page of ours, as far as the browser says.

    Browsers say where a form was (Origin, Sec-Fetch-Site); the token in it is what proves it.
    """
    origin = request.headers.get("Origin")
    if origin not in (None, f"https://{request.host}"):
        return False
    return request.headers.get("Sec-Fetch-Site", "none") in ("same-origin", "none")
