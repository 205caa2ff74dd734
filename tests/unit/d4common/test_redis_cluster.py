"""What a node of a cluster that changes says, in the words of redis-py's versions."""

from __future__ import annotations

import pytest
from redis.exceptions import ConnectionError, MovedError, ReadOnlyError, RedisError, ResponseError

from d4common.redis_cluster import change, said


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ResponseError("MOVED 1584 127.0.0.1:7001"), "MOVED"),
        (MovedError("1584 127.0.0.1:7001"), "MOVED"),
        (ResponseError("ASK 1584 127.0.0.1:7001"), "ASK"),
        (ResponseError("TRYAGAIN Multiple keys request during rehashing of slot"), "TRYAGAIN"),
        (ResponseError("CLUSTERDOWN The cluster is down"), "CLUSTERDOWN"),
        (ReadOnlyError("You can't write against a read only replica."), "READONLY"),
        (
            ResponseError("Command # 1 (SET x caused error: y) of pipeline caused error: ('MOVED 1 a:2',)"),
            "MOVED",
        ),
        (ResponseError("NOGROUP No such key"), None),
        (ResponseError("CROSSSLOT Keys in request don't hash to the same slot"), None),
        (ResponseError("Command # 1 (SET MOVED) of pipeline caused error: ('OOM command',)"), None),
        (ConnectionError("Connection closed by server."), None),
        (ResponseError(""), None),
    ],
)
def test_what_changes_is_known_from_its_error(error: RedisError, code: str | None) -> None:
    assert change(error) == code


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("OOM command not allowed", "OOM command not allowed"),
        ("Command # 1 (SET x secret) of pipeline caused error: ('OOM its',)", "OOM its"),
        ("Command # 1 (SET x secret) of pipeline caused error: (\"OOM 'maxmemory'.\",)", "OOM 'maxmemory'."),
        ("UNBLOCKED state changed (master -> replica?)", "UNBLOCKED state changed (master -> replica?)"),
        ("", ""),
    ],
)
def test_what_redis_said_is_without_the_command(text: str, wanted: str) -> None:
    assert said(ResponseError(text)) == wanted
