"""Users, sessions, tokens and the audit trail in a Redis Cluster: all of it in one slot."""

from __future__ import annotations

import asyncio
import base64
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from clustering import RedisCluster

from d4common import redis_client, totp
from d4server import audit, second_factor, sessions, tokens, users
from d4server.actor import Role
from d4server.config import ServerConfig
from d4server.entrance import Entrance
from d4server.operations import Actor, Context, Failed, perform

HOME = "192.0.2.1"


@pytest.mark.usefixtures("cheap_hashes")
def test_accounts_live_in_a_cluster() -> None:
    with TemporaryDirectory(prefix="cluster-") as directory, RedisCluster(Path(directory)) as cluster:
        asyncio.run(_live(cluster))


async def _live(cluster: RedisCluster) -> None:
    redis = redis_client.connect(cluster.url)
    try:
        await users.make_first(redis)
        await users.set_password(redis, "admin", "correct horse")
        entrance = Entrance(redis)
        opened = await entrance.log_in(HOME, "admin", "correct horse", "Firefox")
        assert opened is not None
        actor = await sessions.actor_of_session(redis, opened.token, HOME)
        assert actor is not None

        async def do(name: str, by: Actor = actor, /, **values: Any) -> Any:
            return await perform(Context(redis, ServerConfig(), by), name, values)

        await do("users.create", name="bob", role="operator")
        token = await do("tokens.create", user="bob", name="script", role="viewer")
        found = await tokens.actor_of_token(redis, token.token, HOME)
        assert found and (found.name, found.role) == ("bob", Role.VIEWER)
        secret = base64.b32decode((await do("account.begin_totp", password="correct horse")).secret)
        step = int(time.time()) // totp.STEP
        await do("account.confirm_totp", code=totp.code(secret, step))
        half = await entrance.log_in(HOME, "admin", "correct horse", "Firefox")
        assert half and half.needs_code
        assert await entrance.give_code(HOME, half.token, totp.code(secret, step + 1), "Firefox")
        assert len(await do("account.sessions")) == 2
        await do("account.remove_totp", password="correct horse")
        assert await second_factor.left(redis, "admin") == 0
        with pytest.raises(Failed, match="only admin"):
            await do("users.delete", name="admin")
        await do("tokens.revoke", id=token.id)
        await do("users.delete", name="bob")
        assert [each.name for each in (await do("users.list")).items] == ["admin"]
        trail, _ = await audit.find(redis, audit.DONE, "BOB", 1, 10)
        assert [each.action for each in trail] == ["users.delete", "tokens.create", "users.create"]
        holding = [node for node in cluster.masters() if node.client.dbsize()]
        assert len(holding) == 1
    finally:
        await redis_client.close(redis)
