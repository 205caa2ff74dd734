"""A client of a Redis Cluster, with the commands of redis-py's client of one Redis.

Each key belongs to one of 16384 slots, each slot to one node (the Redis Cluster specification, "Key
distribution model"). A command goes to the node that has its key, a pipeline in parts to all nodes that have
keys of it. Nothing that may have been done is done again here.

redis-py has such a client too, which does again by itself what it cannot know to have failed, so that
entries would be stored twice.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from redis.asyncio import Redis
from redis.commands import AsyncCoreCommands
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ConnectionError,
    MasterDownError,
    MovedError,
    ReadOnlyError,
    RedisError,
    TimeoutError,
    TryAgainError,
)

from d4common.config import Endpoint

TRIES = 3
"""How often a command is sent where nodes say that another one has its key; that has no other effect."""

LOOK = {"socket_connect_timeout": 2, "socket_timeout": 2}
"""Seconds after which another node is asked which node has what."""

_CHANGES = {
    "MOVED": MovedError,
    "ASK": AskError,
    "TRYAGAIN": TryAgainError,
    "CLUSTERDOWN": ClusterDownError,
    "MASTERDOWN": MasterDownError,
    "READONLY": ReadOnlyError,
}
"""What nodes of a cluster that changes answer, having done nothing. redis-py 4.3 has no classes for some."""


class Cluster(AsyncCoreCommands):  # type: ignore[misc]
    """Clients of all nodes, found through any of ``endpoints``; ``options`` are those of each."""

    def __init__(self, endpoints: Sequence[Endpoint], options: dict[str, Any]) -> None:
        self._endpoints = endpoints
        self._options = options
        self._clients: dict[tuple[str, int], Redis] = {}
        self._slots: list[tuple[int, int, Redis]] = []
        """First and last slot of each range, and who has it."""
        self._known = False
        """Whether _slots hold, as far as is known."""
        self._looks = 0
        self._looking = asyncio.Lock()

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Does one command at the node that has its key; one without a key at any node."""
        for _ in range(TRIES - 1):
            node = await self.node(_key(args))
            try:
                return await node.execute_command(*args, **options)
            except RedisError as error:
                self.hear(error)
                if change(error) == "ASK":
                    return await self.ask(error, *args, **options)
                if change(error) != "MOVED":
                    raise
        return await (await self.node(_key(args))).execute_command(*args, **options)

    async def ask(self, answer: RedisError, *args: Any, **options: Any) -> Any:
        """Does a command at the node that ``answer``, an ASK, names: there a key is while its slot moves."""
        host, _, port = said(answer).rpartition(" ")[2].rpartition(":")
        async with self._client((host, int(port))).pipeline(transaction=False) as pipe:
            pipe.execute_command("ASKING")
            pipe.execute_command(*args, **options)
            _, found = await pipe.execute()
        return found

    def pipeline(self, transaction: bool = True) -> ClusterPipeline:
        """Commands to be sent together; as a transaction only such as have their keys in one slot."""
        return ClusterPipeline(self, transaction)

    async def node(self, key: str | bytes | None) -> Redis:
        """The client of the node that has a key. Raises ConnectionError where none is known to."""
        if not self._known:
            await self._look()
        if key is None:
            return self._slots[0][2]
        slot = key_slot(key.encode() if isinstance(key, str) else bytes(key))
        for first, last, client in self._slots:
            if first <= slot <= last:
                return client
        self._known = False
        raise ConnectionError(f"no node of the cluster has slot {slot}")

    def hear(self, error: BaseException) -> None:
        """Takes note of what a node answered: it may mean that another one has the key now."""
        if isinstance(error, (ConnectionError, TimeoutError)) or change(error) not in (None, "ASK"):
            self._known = False

    async def disconnect(self) -> None:
        """Closes all connections."""
        for client in self._clients.values():
            await client.connection_pool.disconnect()

    async def _look(self) -> None:
        """Asks which node has what; each time another node first, since one that is cut off cannot know."""
        async with self._looking:
            if self._known:
                return
            named = [(each.host, each.port) for each in self._endpoints]
            places = [*dict.fromkeys([*named, *self._clients])]
            first, self._looks = self._looks % len(places), self._looks + 1
            last: RedisError = ConnectionError("no node of the cluster answers")
            for place in places[first:] + places[:first]:
                try:
                    found = await self._slots_by(place)
                except RedisError as error:
                    last = error
                    continue
                self._slots = found
                self._known = True
                return
            raise last

    async def _slots_by(self, place: tuple[str, int]) -> list[tuple[int, int, Redis]]:
        asked = Redis(host=place[0], port=place[1], **{**self._options, **LOOK})
        try:
            found = await asked.execute_command("CLUSTER", "SLOTS")
        finally:
            await asked.connection_pool.disconnect()
        if not found:
            raise ConnectionError(f"{Endpoint(*place)} is no node of a working cluster")
        # A node that was never told its own address names itself by nothing.
        return [
            (first, last, self._client((host.decode() if host else place[0], port)))
            for first, last, (host, port, *_), *_ in found
        ]

    def _client(self, place: tuple[str, int]) -> Redis:
        if place not in self._clients:
            self._clients[place] = Redis(host=place[0], port=place[1], **self._options)
        return self._clients[place]


class ClusterPipeline(AsyncCoreCommands):  # type: ignore[misc]
    """Commands that are sent together: one round trip for each node that has keys of them."""

    def __init__(self, cluster: Cluster, transaction: bool) -> None:
        self._cluster = cluster
        self._transaction = transaction
        self._commands: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    async def __aenter__(self) -> ClusterPipeline:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._commands = []

    def execute_command(self, *args: Any, **options: Any) -> ClusterPipeline:
        """Takes a command on."""
        self._commands.append((args, options))
        return self

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """The answers, in the order of the commands; errors among them, or the first of them raised.

        A WAIT goes to each node that anything goes to, behind the rest; its answer is the lowest of theirs.
        Where it is not known which node has a key, that is raised in any case, and nothing is sent. A key
        that is on its way to another node is followed there, but not where a WAIT or a transaction would
        not hold for both nodes.
        """
        everywhere = [n for n, (args, _) in enumerate(self._commands) if args[0] == "WAIT"]
        parts: dict[Redis, list[int]] = {}
        for number, (args, _) in enumerate(self._commands):
            if number not in everywhere:
                node = await self._cluster.node(_key(self._commands[0][0] if self._transaction else args))
                parts.setdefault(node, []).append(number)
        asked = [(node, [*own, *everywhere]) for node, own in parts.items()]
        found = await asyncio.gather(*(self._ask(node, numbers) for node, numbers in asked))
        answers: list[Any] = [None] * len(self._commands)
        counts: list[Any] = []
        for (_, numbers), own in zip(asked, found, strict=True):
            for number, answer in zip(numbers, own, strict=True):
                answers[number] = answer
                if number in everywhere:
                    counts.append(answer)
        for number in everywhere:
            answers[number] = _lowest(counts)
        if raise_on_error:
            for answer in answers:
                if isinstance(answer, RedisError):
                    raise answer
        return answers

    async def _ask(self, node: Redis, numbers: list[int]) -> list[Any]:
        """The answers of one node; an error for each command where the connection broke."""
        async with node.pipeline(transaction=self._transaction) as pipe:
            for number in numbers:
                args, options = self._commands[number]
                pipe.execute_command(*args, **options)
            try:
                answers: list[Any] = await pipe.execute(raise_on_error=False)
            except RedisError as error:
                answers = [error] * len(numbers)
        for place, number in enumerate(numbers):
            if isinstance(answers[place], RedisError):
                answers[place] = await self._follow(answers[place], number)
        return answers

    async def _follow(self, error: RedisError, number: int) -> Any:
        """What comes of a command that a node has refused: an answer of another node, or an error."""
        self._cluster.hear(error)
        waits = any(args[0] == "WAIT" for args, _ in self._commands)
        if change(error) != "ASK" or self._transaction or waits:
            return error
        args, options = self._commands[number]
        try:
            return await self._cluster.ask(error, *args, **options)
        except RedisError as other:
            self._cluster.hear(other)
            return other


def _lowest(counts: list[Any]) -> Any:
    """The lowest of what nodes answered, or an error if there is one."""
    errors = [each for each in counts if isinstance(each, RedisError)]
    return errors[0] if errors else min(counts, default=0)


def _key(args: tuple[Any, ...]) -> str | bytes | None:
    """The first key of a command, as redis-py puts it together; None where it has none."""
    name = args[0].upper()
    key: str | bytes | None
    if name in ("EVAL", "EVALSHA"):
        key = args[3] if int(args[2]) else None
    elif name in ("XREAD", "XREADGROUP"):
        words = [word.upper() if isinstance(word, (str, bytes)) else word for word in args]
        key = args[next(n for n, word in enumerate(words) if word in ("STREAMS", b"STREAMS")) + 1]
    else:
        key = args[1] if len(args) > 1 else None
    return key


def change(error: BaseException) -> str | None:
    """What a node says whose cluster changes, such as MOVED; None for any other error."""
    for code, kind in _CHANGES.items():
        if isinstance(error, kind):
            return code
    word = said(error).partition(" ")[0]
    return word if word in _CHANGES else None


def said(error: BaseException) -> str:
    """What Redis said, without the command that redis-py puts in front of it, which holds data."""
    text = str(error).rpartition("caused error: ")[2]
    bare = re.fullmatch(r"\((['\"])(.*)\1,\)", text, re.DOTALL)
    return bare[2] if bare else text
