"""What an operation is: made of a function's signature, performed with its values by who may."""

from __future__ import annotations

import asyncio
import inspect
from importlib import import_module
from typing import Annotated, Any, NamedTuple
from uuid import UUID, uuid4

import pytest

from d4server.config import ServerConfig
from d4server.operations import all_operations, trail
from d4server.operations.kinds import KEY, NAME, PAGE, UUID4
from d4server.operations.operation import (
    OPERATORS,
    VIEWERS,
    Actor,
    Context,
    Failed,
    Forbidden,
    Invalid,
    Role,
    operation,
    page_of,
    perform,
)
from d4server.sensors import Refused


class Roster:
    """Stands for what the web daemon keeps; has which sensors it was told of."""

    def __init__(self) -> None:
        self.outdated: list[UUID] = []

    def outdate(self, sensor: UUID) -> None:
        self.outdated.append(sensor)


class Made(NamedTuple):
    name: str
    page: int


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any], str]]:
    """What the audit trail is told, of operations that exist for one test only."""
    monkeypatch.setattr(import_module("d4server.operations.operation"), "_operations", {})
    entries: list[tuple[str, dict[str, Any], str]] = []

    async def write(redis: Any, actor: Actor, wanted: Any, values: Any, outcome: str = "done") -> None:
        entries.append((wanted.name, dict(values), outcome))

    monkeypatch.setattr(trail, "write", write)

    @operation("POST", "/things/{name}", OPERATORS)
    async def make(
        context: Context,
        *,
        name: Annotated[str, NAME],
        key: Annotated[bytes | None, KEY] = None,
        page: Annotated[int, PAGE] = 1,
    ) -> Made:
        """Makes a thing.

        Once is enough.
        """
        if name == "refused":
            raise Refused("no such thing")
        return Made(name, page)

    @operation("POST", "/things/touch", OPERATORS)
    async def touch(context: Context, *, uuid: Annotated[UUID, UUID4]) -> None:
        """Does something to a sensor."""

    @operation("GET", "/things", VIEWERS)
    async def _list(context: Context) -> list[Made]:
        """All things."""
        return []

    return entries


def as_(role: Role, name: str, values: dict[str, Any], roster: Any = None) -> Any:
    """What comes of an operation when somebody of a role asks for it."""
    context = Context(None, ServerConfig(), Actor("somebody", role, "192.0.2.1", "session"), roster)
    return asyncio.run(perform(context, name, values))


def test_an_operation_is_what_its_signature_says(written: object) -> None:
    made = all_operations()["test_operation.make"]
    assert (made.method, made.path, made.roles, made.changes) == ("POST", "/things/{name}", OPERATORS, True)
    assert (made.summary, made.description) == ("Makes a thing.", "Once is enough.")
    assert [(each.name, each.required, each.default) for each in made.parameters] == [
        ("name", True, inspect.Parameter.empty),
        ("key", False, None),
        ("page", False, 1),
    ]
    assert made.result is Made
    listing = all_operations()["test_operation.list"]
    assert not listing.changes


def test_values_are_read_and_what_was_changed_is_in_the_trail(written: list[Any]) -> None:
    roster = Roster()
    assert as_(Role.OPERATOR, "test_operation.make", {"name": "a", "page": "3"}, roster) == Made("a", 3)
    assert written == [("test_operation.make", {"name": "a", "key": None, "page": 3}, "done")]
    assert roster.outdated == []


def test_whoever_keeps_a_roster_is_told_of_a_sensor_that_was_changed(written: list[Any]) -> None:
    uuid, roster = uuid4(), Roster()
    as_(Role.OPERATOR, "test_operation.touch", {"uuid": str(uuid)}, roster)
    assert roster.outdated == [uuid]


def test_a_look_is_not_in_the_trail(written: list[Any]) -> None:
    assert as_(Role.VIEWER, "test_operation.list", {}) == []
    assert written == []


def test_who_may_not_is_refused_whatever_the_values_and_that_is_in_the_trail(written: list[Any]) -> None:
    with pytest.raises(Forbidden, match="viewer may not do that; admin or operator may"):
        as_(Role.VIEWER, "test_operation.make", {"nonsense": 1})
    assert written == [("test_operation.make", {}, "refused")]


def test_all_that_is_wrong_is_said_at_once(written: list[Any]) -> None:
    with pytest.raises(Invalid) as error:
        as_(Role.ADMIN, "test_operation.make", {"page": "0", "key": 5, "more": 1})
    assert error.value.problems == {
        "name": "is missing",
        "key": "must be text",
        "page": "must be a whole number from 1 to 1000000",
        "more": "is not known here",
    }
    assert written == []


def test_what_the_rooms_below_refuse_has_failed(written: list[Any]) -> None:
    with pytest.raises(Failed, match="no such thing"):
        as_(Role.ADMIN, "test_operation.make", {"name": "refused"})
    assert written == []


def test_pages() -> None:
    assert page_of([1, 2, 3, 4, 5], 2, 2) == ([3, 4], 5, 2, 2)
    assert page_of([1, 2, 3], 9, 2) == ([], 3, 9, 2)
