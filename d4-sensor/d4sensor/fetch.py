"""Fetches feeds, over verified TLS, only where they have changed, and keeps the last good copy of each."""

from __future__ import annotations

import json
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any

from d4sensor.feeds import Feed, FeedError

TIMEOUT = 30.0
"""Seconds that a server may be silent."""

MAX_TIME = 600.0
"""Seconds that one feed may take."""

MAX_BODY = 128 << 20
"""Bytes of a feed, as it comes."""

FRESH = 3600.0
"""Seconds in which a feed is not asked for again: an update that broke off goes on where it was."""


@dataclass(frozen=True)
class State:
    """What is known about the copy of a feed. Times are seconds since the epoch, 0 for never."""

    url: str = ""
    etag: str = ""
    last_modified: str = ""
    fetched: float = 0.0
    """When the copy was made."""
    checked: float = 0.0
    """When the server last said that it is, or brought, the newest."""
    error: str = ""
    """What went wrong since."""


class Store:
    """The copies of feeds in a directory: NAME.feed, and NAME.json with its state."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def body(self, feed: Feed) -> bytes | None:
        """The copy of a feed; None where there is none."""
        try:
            return self._path(feed, "feed").read_bytes()
        except FileNotFoundError:
            return None

    def state(self, feed: Feed) -> State:
        """The state of a feed's copy; but for the error that of none if there is none, or of another URL."""
        try:
            state = State(**json.loads(self._path(feed, "json").read_text()))
        except (OSError, ValueError, TypeError):
            return State()
        if state.url == feed.url and self._path(feed, "feed").exists():
            return state
        return State(error=state.error)

    def put(self, feed: Feed, state: State, body: bytes | None = None) -> None:
        """Keeps a state, and a new copy if there is one. Raises OSError."""
        self._directory.mkdir(parents=True, exist_ok=True)
        if body is not None:
            _replace(self._path(feed, "feed"), body)
        _replace(self._path(feed, "json"), json.dumps(asdict(state)).encode())

    def _path(self, feed: Feed, suffix: str) -> Path:
        return self._directory / f"{feed.name}.{suffix}"


def opener(proxy: str | None, ca: Path | None = None) -> urllib.request.OpenerDirector:
    """Opens https:// URLs, by the system's CAs or another, through a proxy or that of the environment."""
    context = ssl.create_default_context(cafile=str(ca) if ca else None)
    proxies = urllib.request.ProxyHandler({"https": proxy} if proxy else None)
    return urllib.request.build_opener(proxies, urllib.request.HTTPSHandler(context=context), _HttpsRedirects)


def fetch(
    feed: Feed,
    store: Store,
    opened: urllib.request.OpenerDirector,
    check: Callable[[Feed, bytes], None],
) -> State:
    """Brings the copy of a feed up to date; where that fails, the copy stays and the state says why.

    ``check`` raises FeedError for a body that is not to be kept. Raises OSError where the store cannot be
    written.
    """
    state = store.state(feed)
    if not state.error and time.time() - state.checked < FRESH:
        return state
    body = None
    try:
        body, headers = _get(feed, state, opened)
        now = time.time()
        if body is None:
            state = replace(state, checked=now, error="")
        else:
            check(feed, body)
            etag, modified = headers.get("ETag", ""), headers.get("Last-Modified", "")
            state = State(feed.url, etag, modified, now, now)
    except FeedError as error:
        body, state = None, replace(state, url=feed.url, error=str(error))
    store.put(feed, state, body)
    return state


class _HttpsRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirection to where nobody is verified."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if not newurl.startswith("https://"):
            raise FeedError(f"leads to {newurl}, which is not https://")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _get(feed: Feed, state: State, opened: urllib.request.OpenerDirector) -> tuple[bytes | None, Any]:
    """Body and header fields; no body where the copy of that state is the newest. Raises FeedError."""
    request = urllib.request.Request(feed.url, headers={"User-Agent": "d4-sensor"})
    if state.etag:
        request.add_header("If-None-Match", state.etag)
    if state.last_modified:
        request.add_header("If-Modified-Since", state.last_modified)
    try:
        with opened.open(request, timeout=TIMEOUT) as response:
            body = _read(response)
            if len(body) != int(response.headers.get("Content-Length", len(body))):
                raise FeedError("was cut off")
            return body, response.headers
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 304:
                return None, error.headers
            raise FeedError(f"the server says {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        raise FeedError(str(error.reason)) from None
    except (OSError, HTTPException, ValueError) as error:
        raise FeedError(str(error) or type(error).__name__) from None


def _read(response: IO[bytes]) -> bytes:
    body, end = bytearray(), time.monotonic() + MAX_TIME
    while chunk := response.read(1 << 16):
        body += chunk
        if len(body) > MAX_BODY:
            raise FeedError(f"holds more than {MAX_BODY} bytes")
        if time.monotonic() > end:
            raise FeedError(f"takes longer than {MAX_TIME:.0f} seconds")
    return bytes(body)


def _replace(path: Path, content: bytes) -> None:
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(content)
    os.replace(new, path)
