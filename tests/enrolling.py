"""A server that lets sensors in, in this process, and a client that says whatever a test wants to say."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from redis.asyncio import Redis

from d4common import redis_client, tls
from d4common.enrolling import ALPN_ENROLL
from d4server import admission, certificates, client_certificates
from d4server.config import D4
from d4server.enrolment import Enrolment

CLAIM = "c1" * 32
NAME = "a sensor"


class Enrolling:
    """A running server. ``directory`` holds its certificates."""

    def __init__(self, directory: Path, redis: Redis, port: int) -> None:
        self.directory = directory
        self.redis = redis
        self.port = port

    async def connect(self) -> Client:
        """A client that has been greeted."""
        context = tls.client_context(self.directory / "ca.pem", True, [ALPN_ENROLL])
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port, ssl=context))
        client.nonce = (await client.hear())["nonce"]
        return client

    async def ask(self, **members: str) -> dict[str, Any]:
        """The first answer to a request on a connection of its own, which then breaks."""
        client = await self.connect()
        client.say(**members)
        answer = await client.hear()
        client.writer.transport.abort()
        return answer

    async def enroll(self, uuid: UUID, claim: str = CLAIM, **more: str) -> dict[str, Any]:
        """The first answer to a request to be let in."""
        return await self.ask(op="enroll", uuid=str(uuid), name=NAME, claim=claim, **more)

    async def token(self, name: str = "", valid: float = 60) -> str:
        """A token."""
        return await admission.new_token(self.redis, name, valid)


class Client:
    """Lines of JSON to and from the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.nonce = ""
        self.reader = reader
        self.writer = writer

    def say(self, **members: str) -> None:
        """Sends an object."""
        self.writer.write(json.dumps(members).encode() + b"\n")

    async def hear(self) -> dict[str, Any]:
        """The next object; an empty one where the server has closed."""
        line = await asyncio.wait_for(self.reader.readline(), 10)
        answer: dict[str, Any] = json.loads(line or b"{}")
        return answer


@asynccontextmanager
async def serving(directory: Path, redis_socket: Path, replicas: int = 0) -> AsyncIterator[Enrolling]:
    """A server for a test."""
    certificates.ensure(directory, [])
    client_certificates.ensure(directory)
    pem = directory / "tls"
    settings = D4(ca=directory / "ca.pem", client_ca=pem / "clients.pem", client_ca_key=pem / "clients.key")
    context: ssl.SSLContext = tls.server_context(pem / "server.pem", pem / "server.key", [ALPN_ENROLL])
    redis = redis_client.connect(f"unix://{redis_socket}")
    enrolment = Enrolment(redis, settings, replicas)
    server = await asyncio.start_server(enrolment.serve, "127.0.0.1", 0, ssl=context)
    try:
        yield Enrolling(directory, redis, server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await redis_client.close(redis)
