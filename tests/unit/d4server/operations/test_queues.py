"""Operations about analyzer queues, with a real Redis."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID, uuid4

import pytest
from operating import do, with_redis

from d4common import records
from d4common.queues import Consumer
from d4common.records import Entry
from d4server.operations import Failed, Missing


def test_a_queue_is_made_under_a_name_or_a_uuid(redis_socket: Path) -> None:
    assert do(redis_socket, "queues.create", type="maltrail", name="mine").name == "mine"
    made = do(redis_socket, "queues.create", type="maltrail", description="to the collector")
    assert UUID(made.name).version == 4
    found = do(redis_socket, "queues.show", name=made.name)
    assert (found.type, found.description, found.lag) == ("maltrail", "to the collector", 0)
    assert do(redis_socket, "queues.list").total == 2
    assert [each.name for each in do(redis_socket, "queues.list", search="COLLECTOR").items] == [made.name]
    assert do(redis_socket, "queues.list", type="3").total == 0
    with pytest.raises(Failed, match="there is a queue mine already"):
        do(redis_socket, "queues.create", type="3", name="mine")


def test_a_queue_is_deleted(redis_socket: Path) -> None:
    do(redis_socket, "queues.create", type="maltrail", name="mine")
    do(redis_socket, "queues.delete", name="mine")
    for verb in ("show", "delete", "sample"):
        with pytest.raises(Missing, match="there is no queue mine"):
            do(redis_socket, f"queues.{verb}", name="mine")


def test_a_sample_takes_nothing(redis_socket: Path) -> None:
    do(redis_socket, "queues.create", type="maltrail", name="mine")
    entries = [Entry(uuid4(), "maltrail", 7, b"one\ntwo\n")]
    with_redis(redis_socket, lambda redis: records.append(redis, entries))
    assert [each.text for each in do(redis_socket, "queues.sample", name="mine", count=1)] == ["two"]
    assert do(redis_socket, "queues.show", name="mine").lag == 1


def test_what_is_set_of_a_queue_is_shown(redis_socket: Path) -> None:
    do(redis_socket, "groups.create", name="some")
    do(redis_socket, "queues.create", type="maltrail", name="mine", group="some")
    do(redis_socket, "queues.describe", name="mine", description="what for")
    do(redis_socket, "queues.pause", name="mine")
    do(redis_socket, "queues.cap", name="mine", entries=1000, bytes="1G")
    found = do(redis_socket, "queues.show", name="mine")
    assert (found.group, found.description, found.paused) == ("some", "what for", True)
    assert (found.cap_entries, found.cap_bytes, found.dropped) == (1000, 1 << 30, 0)
    do(redis_socket, "queues.resume", name="mine")
    do(redis_socket, "queues.cap", name="mine")
    do(redis_socket, "queues.group", name="mine")
    found = do(redis_socket, "queues.show", name="mine")
    assert (found.group, found.paused, found.cap_entries, found.cap_bytes) == ("", False, 0, 0)
    with pytest.raises(Failed, match="there is no group none"):
        do(redis_socket, "queues.group", name="mine", group="none")


def test_a_queue_is_emptied(redis_socket: Path) -> None:
    do(redis_socket, "queues.create", type="maltrail", name="mine")
    entries = [Entry(uuid4(), "maltrail", 7, b"one\n") for _ in range(3)]
    with_redis(redis_socket, lambda redis: records.append(redis, entries))
    assert do(redis_socket, "queues.empty", name="mine").entries == 3
    assert do(redis_socket, "queues.show", name="mine").lag == 0


def test_who_takes_from_a_queue_is_shown(redis_socket: Path) -> None:
    do(redis_socket, "queues.create", type="maltrail", name="mine")
    assert do(redis_socket, "queues.consumers", name="mine") == []
    with_redis(redis_socket, lambda redis: Consumer(redis, "maltrail", "mine", "me").read(1, 0.001))
    assert [each.name for each in do(redis_socket, "queues.consumers", name="mine")] == ["me"]


@pytest.mark.parametrize("verb", ["pause", "resume", "cap", "group", "empty", "consumers"])
def test_nothing_is_done_to_a_queue_that_is_not_there(redis_socket: Path, verb: str) -> None:
    with pytest.raises(Missing, match="there is no queue none"):
        do(redis_socket, f"queues.{verb}", name="none")
