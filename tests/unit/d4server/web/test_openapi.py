"""The OpenAPI document: made from operations, whole, and of valid schemas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator

from d4server.operations import all_operations
from d4server.web import openapi

DOCUMENT = openapi.document(all_operations().values())


def described() -> Iterator[dict[str, Any]]:
    """Every operation of the document."""
    for methods in DOCUMENT["paths"].values():
        yield from methods.values()


def inside(value: Any) -> Iterator[dict[str, Any]]:
    """All objects in a piece of JSON."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from inside(each)


def test_each_operation_is_there_once_under_its_name() -> None:
    assert sorted(each["operationId"] for each in described()) == sorted(all_operations())


def test_each_says_what_it_does_and_who_may() -> None:
    for each in described():
        assert each["summary"].endswith("."), each["operationId"]
        assert "Roles: admin" in each["description"]


def test_all_schemas_are_schemas_and_all_that_is_referred_to_is_there() -> None:
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for each in described():
        for parameter in each.get("parameters", ()):
            Draft202012Validator.check_schema(parameter["schema"])
        for content in each.get("requestBody", {}).get("content", {}).values():
            Draft202012Validator.check_schema(content["schema"])
    for value in inside(DOCUMENT):
        if "$ref" in value:
            assert value["$ref"].rpartition("/")[2] in DOCUMENT["components"]["schemas"]


def test_what_stands_in_a_path_is_a_parameter_there_and_nowhere_else() -> None:
    for path, methods in DOCUMENT["paths"].items():
        for method, each in methods.items():
            operation = all_operations()[each["operationId"]]
            own = {at["name"] for at in each.get("parameters", ()) if at["in"] == "path"}
            assert own == openapi.in_path(operation), path
            body = each.get("requestBody", {}).get("content", {}).get("application/json", {})
            assert not own & body.get("schema", {}).get("properties", {}).keys(), path
            assert not (method in ("get", "delete") and body), path


def test_what_is_secret_is_never_in_a_path_or_a_query() -> None:
    for operation in all_operations().values():
        secret = {each.name for each in operation.parameters if each.kind.secret}
        assert not secret or openapi.has_body(operation), operation.name
        assert not secret & openapi.in_path(operation), operation.name
