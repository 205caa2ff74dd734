"""The audit trail of operations: every change, and what somebody tried whose role does not allow it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis

from d4server import audit
from d4server.actor import Actor
from d4server.audit import DONE

if TYPE_CHECKING:
    from d4server.operations.operation import Operation


async def write(
    redis: Redis, actor: Actor, wanted: Operation, values: Mapping[str, Any], outcome: str = DONE
) -> None:
    """Has it that somebody did this with these values, or was ``refused``. What is secret is left out."""
    secret = {parameter.name for parameter in wanted.parameters if parameter.kind.secret}
    shown = {
        name: value
        for name, value in values.items()
        if name not in secret and value is not None and value != ""
    }
    await audit.write(redis, actor, wanted.name, shown, outcome)
