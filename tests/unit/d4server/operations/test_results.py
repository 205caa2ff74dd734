"""Results of operations: as JSON, and the schema of their types."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from jsonschema import Draft202012Validator

from d4server.operations.operation import Page
from d4server.operations.results import Schemas, to_json

UUID4 = UUID("d43e5a4b-6a1f-4c5e-9d3b-0f2a7c1e8b90")


class State(StrEnum):
    ON = "on"
    OFF = "off"


@dataclass(frozen=True)
class Volume:
    bytes: int


class Item(NamedTuple):
    uuid: UUID
    state: State
    volumes: dict[str, Volume]
    seen: float | None
    groups: tuple[str, ...]


ITEM = Item(UUID4, State.ON, {"maltrail": Volume(5)}, None, ("a", "b"))


def test_a_result_as_json() -> None:
    assert to_json(Page([ITEM], 1, 1, 50)) == {
        "items": [
            {
                "uuid": str(UUID4),
                "state": "on",
                "volumes": {"maltrail": {"bytes": 5}},
                "seen": None,
                "groups": ["a", "b"],
            }
        ],
        "total": 1,
        "page": 1,
        "size": 50,
    }
    assert to_json(None) is None
    assert to_json(b"key") == "key"


def test_the_schema_fits_the_json() -> None:
    schemas = Schemas()
    schema = schemas.of(Page[Item])
    assert schema == {"$ref": "#/components/schemas/ItemPage"}
    document = {**schema, "components": {"schemas": schemas.named}}
    validator = Draft202012Validator(document)
    good = to_json(Page([ITEM], 1, 1, 50))
    assert validator.is_valid(json.loads(json.dumps(good)))
    for wrong in ({"uuid": 5}, {"state": "other"}, {"volumes": {"a": {"bytes": "x"}}}, {"more": 1}):
        bad: Any = {**good, "items": [{**good["items"][0], **wrong}]}
        assert not validator.is_valid(bad), wrong


def test_two_types_of_one_name_have_two_schemas() -> None:
    def another() -> type[Any]:
        class Item(NamedTuple):
            name: str

        return Item

    schemas = Schemas()
    assert schemas.of(Item) != schemas.of(another())
    assert len(schemas.named) == 3
