"""The API in a thread of the test, over real HTTPS and a real Redis; each answer is held to the document."""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from aiohttp import web
from jsonschema import Draft202012Validator
from operating import SETTINGS, with_redis

from d4common import redis_client, tls
from d4server import tokens, users
from d4server.actor import Role
from d4server.operations import Context, Operation, all_operations
from d4server.roster import Roster
from d4server.web import api, openapi

LARGEST_BODY = 256 << 10
"""Bytes."""


class Answer(NamedTuple):
    """What came back: status, headers, and the body as JSON, None where there is none."""

    status: int
    headers: http.client.HTTPMessage
    body: Any


@dataclass
class Client:
    """One that speaks to the API."""

    port: int
    ca: Path
    redis: Path

    def __post_init__(self) -> None:
        context = ssl.create_default_context(cafile=self.ca)
        self._connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20, context=context)
        self.document = self.ask("GET", "/openapi.json").body
        self._tokens: dict[Role, str] = {}

    def close(self) -> None:
        """Leaves."""
        self._connection.close()

    def token(self, role: Role) -> str:
        """A token of a user of a role; both are made when they are first asked for."""

        async def make(redis: Any) -> str:
            await users.create(redis, f"the-{role}", role)
            return (await tokens.make(redis, f"the-{role}", "of the tests", role, 3600)).token

        if role not in self._tokens:
            self._tokens[role] = with_redis(self.redis, make)
        return self._tokens[role]

    def ask(self, method: str, path: str, token: str = "", body: Any = None, **headers: str) -> Answer:
        """One request below /api/v1; ``body`` is bytes as they are, or what becomes JSON."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        self._connection.request(method, openapi.PREFIX + path, body, sent)
        response = self._connection.getresponse()
        content = response.read()
        return Answer(response.status, response.headers, json.loads(content) if content else None)

    def do(self, name: str, token: str, path: str = "", query: Any = None, body: Any = None) -> Answer:
        """An operation, whose answer must be one that the document has; ``path`` if it has names in it."""
        operation = all_operations()[name]
        search = f"?{urlencode(query, errors='replace')}" if query else ""
        answer = self.ask(operation.method, (path or operation.path) + search, token, body)
        self.check(operation, answer)
        return answer

    def check(self, operation: Operation, answer: Answer) -> None:
        """Fails where an answer is not in the document."""
        documented = self.document["paths"][operation.path][operation.method.lower()]["responses"]
        assert str(answer.status) in documented, (operation.name, answer)
        content = documented[str(answer.status)].get("content")
        if content is None:
            assert answer.body is None
            return
        [(media, described)] = content.items()
        assert answer.headers.get_content_type() == media
        schema = {**described["schema"], "components": self.document["components"]}
        Draft202012Validator(schema).validate(answer.body)


@contextmanager
def serving(redis: Path, certificate: Path, key: Path, ca: Path) -> Iterator[Client]:
    """A client of an API that is there meanwhile."""
    started, port = threading.Event(), [0]
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        client = redis_client.connect(f"unix://{redis}")
        roster = Roster(client, 90)
        site = web.Application(client_max_size=LARGEST_BODY)
        made = api.application(client, lambda actor: Context(client, SETTINGS, actor, roster))
        site.add_subapp(openapi.PREFIX, made)
        runner = web.AppRunner(site, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls.server_context(certificate, key)).start()
        port[0] = runner.addresses[0][1]
        started.set()
        await stop.wait()
        await runner.cleanup()
        await redis_client.close(client)
        await asyncio.sleep(0)  # for the transports to notice

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert started.wait(10)
        client = Client(port[0], ca, redis)
        yield client
        client.close()
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
