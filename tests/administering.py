"""The page for administrators of a test's own: the real process, over HTTPS, and who logs in there."""

from __future__ import annotations

import http.client
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from urllib.parse import urlencode

from operating import with_redis
from redis.asyncio import Redis
from serving import Server, own_redis
from waiting import wait_for

from d4server import sessions, users
from d4server.actor import Role
from d4server.web import headers
from d4server.web.login import COOKIE
from demo.chain import Daemon, free_port

PASSWORD = "horse-staple-battery"

MOST_BYTES = 300 << 10
"""Of a page, with all that it loads."""


@dataclass(frozen=True)
class Answer:
    """What the page said."""

    status: int
    headers: Message
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def csrf(self) -> str:
        """The token of its forms."""
        found = re.search('name="csrf" value="([0-9a-f]{64})"', self.text)
        assert found, self.text
        return found[1]


class Administration:
    """`d4-server web` beside a server, not yet started."""

    def __init__(self, server: Server, directory: Path) -> None:
        self.server = server
        self.port = free_port()
        drop_in = server.config.with_name(f"{server.config.name}.d") / "web.conf"
        drop_in.parent.mkdir(exist_ok=True)
        drop_in.write_text(f"[web]\nlisten = 127.0.0.1\nhttps_port = {self.port}\n")
        self.daemon = Daemon("web", [*server.base, "web"], directory)
        self._visitors: list[Visitor] = []

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"https://127.0.0.1:{self.port}"

    def log(self) -> str:
        """What the daemon said."""
        return self.daemon.log.read_text()

    def first_password(self) -> str:
        """The first admin's, as it is said once."""
        said = re.search(r"for user admin: (\S+) \(", self.log())
        assert said, self.log()
        return said[1]

    def visitor(self) -> Visitor:
        """Somebody with a browser and an address of their own."""
        self._visitors.append(
            Visitor(self, f"127.0.{len(self._visitors) // 250}.{len(self._visitors) % 250 + 2}")
        )
        return self._visitors[-1]

    def stop(self) -> None:
        """Ends it; the visitors leave."""
        for visitor in self._visitors:
            visitor.leave()
        self.daemon.stop()

    def logged_in(self, role: Role) -> Visitor:
        """A user of a role, made for this, who has logged in."""

        async def session(redis: Redis) -> str:
            name = f"the-{role}"
            if await users.find(redis, name) is None:
                await users.create(redis, name, role)
                await users.change(redis, name, must_change="")
            standing = await users.standing(redis, name)
            assert standing
            return await sessions.open(redis, name, standing, "192.0.2.1", "a test")

        visitor = self.visitor()
        visitor.cookies[COOKIE] = with_redis(self.server.redis_path, session)
        return visitor


def must_have_headers(answer: Answer) -> None:
    """What every answer says to the browser."""
    for name, value in headers.HEADERS.items():
        assert answer.headers[name] == value
    policy = answer.headers["Content-Security-Policy"]
    assert "unsafe" not in policy and "script-src 'self'" in policy and "frame-ancestors 'none'" in policy


@contextmanager
def administering(server: Server, directory: Path) -> Iterator[Administration]:
    """The page while it runs, after it has made its first user; its log has no traceback."""
    made = Administration(server, directory)
    made.daemon.start()
    try:
        wait_for(lambda: "first password" in made.log())
        yield made
    finally:
        made.stop()
    assert "Traceback" not in made.log()


@contextmanager
def page_alone(directory: Path) -> Iterator[Administration]:
    """The page with a Redis of its own, of a server that does not run itself."""
    redis = own_redis(directory)
    redis.start()
    try:
        with administering(Server(directory, directory / "redis.sock"), directory) as made:
            yield made
    finally:
        redis.stop()


class Visitor:
    """Who asks for pages, and keeps the cookies."""

    def __init__(self, page: Administration, address: str) -> None:
        self._page = page
        context = ssl.create_default_context(cafile=page.server.ca)
        self._connection = http.client.HTTPSConnection(
            *("127.0.0.1", page.port), timeout=30, source_address=(address, 0), context=context
        )
        self.cookies: dict[str, str] = {}

    def ask(
        self, path: str, method: str = "GET", form: dict[str, str] | None = None, **headers: str
    ) -> Answer:
        """The answer to a request. An underscore in a header's name stands for a dash."""
        wanted = {name.replace("_", "-"): value for name, value in headers.items()}
        wanted.setdefault("Cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
        if form is not None:
            wanted.setdefault("Content-Type", "application/x-www-form-urlencoded")
        body = urlencode(form) if form is not None else None
        try:
            answer = self._ask(method, path, body, wanted)
        except (ConnectionError, http.client.HTTPException):
            # The server closes a connection on which it has not read all.
            self._connection.close()
            answer = self._ask(method, path, body, wanted)
        self._keep(answer.headers.get_all("Set-Cookie") or [])
        return answer

    def _ask(self, method: str, path: str, body: str | None, wanted: dict[str, str]) -> Answer:
        self._connection.request(method, path, body, wanted)
        with self._connection.getresponse() as response:
            return Answer(response.status, response.headers, response.read())

    def send(self, path: str, **form: str) -> Answer:
        """Sends a page's form, with the token that it has."""
        csrf = self.ask(path).csrf()
        return self.ask(path, "POST", {"csrf": csrf, **form})

    def log_in(self, password: str, user: str = "admin") -> Answer:
        """The answer to user and password."""
        return self.send("/login", user=user, password=password)

    def come_in(self) -> None:
        """Logs in as the first admin, and changes the password as one must."""
        first = self._page.first_password()
        assert self.log_in(first).status == 303
        changed = self.send("/password", old=first, new=PASSWORD, again=PASSWORD)
        assert changed.status == 303, changed.text

    def leave(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def _keep(self, cookies: list[str]) -> None:
        for cookie in cookies:
            name, _, value = cookie.partition(";")[0].partition("=")
            if value.strip('"'):
                self.cookies[name] = value
            else:
                self.cookies.pop(name, None)
