"""Operations about types, with a real Redis."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from operating import do

from d4server.operations import Invalid, Missing
from d4server.types import Type


def of(redis_socket: Path, name: str) -> Type | None:
    """What is known of a type."""
    return next((each for each in do(redis_socket, "types.list") if each.name == name), None)


def test_the_way_of_the_tutorial(redis_socket: Path) -> None:
    """Type 254 with a name, and a queue for it under a UUID that is made, or under one's own."""
    do(redis_socket, "types.accept", type="254", name="of-tests", description="from here")
    assert of(redis_socket, "of-tests") == Type("of-tests", True, True, "from here")
    assert do(redis_socket, "types.show", type="of-tests") == of(redis_socket, "of-tests")
    assert UUID(do(redis_socket, "queues.create", type="of-tests").name).version == 4
    own = "6f1c2c7b-1d1f-4f3c-9d0a-2b8e5d7a4c11"
    assert do(redis_socket, "queues.create", type="254", meta="of-tests", name=own) == (own, "of-tests")


def test_a_type_is_accepted_refused_described_and_as_configured(redis_socket: Path) -> None:
    do(redis_socket, "types.refuse", type="3")
    do(redis_socket, "types.describe", type="3", description="lines")
    assert of(redis_socket, "3") == Type("3", False, True, "lines")
    do(redis_socket, "types.forget", type="3")
    assert of(redis_socket, "3") == Type("3", True, False, "")
    do(redis_socket, "types.accept", type=77)
    assert of(redis_socket, "77") == Type("77", True, True, "")
    do(redis_socket, "types.forget", type="77")
    assert of(redis_socket, "77") is None
    with pytest.raises(Missing, match="nothing was decided on type 77"):
        do(redis_socket, "types.forget", type="77")
    for verb, values in (("show", {}), ("describe", {"description": "x"})):
        with pytest.raises(Missing, match="there is no type 77"):
            do(redis_socket, f"types.{verb}", type="77", **values)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"type": "3", "name": "x"}, "name is for type 254 alone"),
        ({"type": "254", "name": "seen"}, "name must be another name"),
        ({"type": "254", "name": "3"}, "name must not be a number"),
        ({"type": "254", "name": "a b"}, "name must be at most 64"),
        ({"type": "255"}, "type must be a type from 1 to 254"),
    ],
)
def test_what_is_no_type_is_said_beside_its_field(
    redis_socket: Path, values: dict[str, str], said: str
) -> None:
    with pytest.raises(Invalid, match=said):
        do(redis_socket, "types.accept", **values)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"type": "254"}, "type must be a meta type's name"),
        ({"type": "77"}, "type is not known here"),
        ({"type": "3", "meta": "maltrail"}, "meta is for type 254 alone"),
        ({"type": "254", "meta": "3"}, "meta must not be a number"),
    ],
)
def test_a_queue_is_for_a_type_of_which_something_can_come(
    redis_socket: Path, values: dict[str, str], said: str
) -> None:
    with pytest.raises(Invalid, match=said):
        do(redis_socket, "queues.create", **values)
