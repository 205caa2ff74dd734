"""The OpenAPI document of the API, made from the operations: what they take, give and answer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from d4common import __version__
from d4server.operations.operation import Operation, Parameter
from d4server.operations.results import Schemas

PREFIX = "/api/v1"

PROBLEM = "application/problem+json"

INTRODUCTION = """\
What administrators can do with this server. Every request needs a token of a user, made on the page or by
`d4-server tokens create`, in the header `Authorization`: as `Bearer TOKEN`, or alone. The token's role
decides what it may do. Times are seconds since the epoch, sizes are bytes. What cannot be is answered with a
problem (RFC 9457), whose `errors` has a sentence for each field that is wrong."""

_PROBLEM_SCHEMA = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "required": ["type", "title", "status", "detail"],
    "additionalProperties": False,
}


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """The whole document, of OpenAPI 3.1."""
    schemas = Schemas()
    schemas.named["Problem"] = _PROBLEM_SCHEMA
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "d4-server", "version": __version__, "description": INTRODUCTION},
        "servers": [{"url": PREFIX}],
        "security": [{"bearer": []}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.named.items())),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "token": {"type": "apiKey", "in": "header", "name": "Authorization"},
            },
        },
    }


def in_path(operation: Operation) -> set[str]:
    """The names of the parameters that stand in the path."""
    return set(re.findall(r"{(\w+)}", operation.path))


def has_body(operation: Operation) -> bool:
    """Whether what is not in the path comes as JSON, rather than as query."""
    return operation.method not in ("GET", "DELETE") and len(operation.parameters) > len(in_path(operation))


def _operation(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    body = has_body(operation)
    own = in_path(operation)
    elsewhere = [each for each in operation.parameters if each.name in own or not body]
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.name.partition(".")[0]],
        "summary": operation.summary,
        "description": _description(operation),
        "responses": _responses(operation, schemas),
    }
    if elsewhere:
        described["parameters"] = [_parameter(each, each.name in own) for each in elsewhere]
    if body:
        described["requestBody"] = _body([each for each in operation.parameters if each.name not in own])
    return described


def _description(operation: Operation) -> str:
    """The rest of what is said of an operation, and who may do it."""
    roles = f"Roles: {', '.join(sorted(operation.roles))}."
    return f"{operation.description}\n\n{roles}".strip()


def _parameter(parameter: Parameter, in_path: bool) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": "path" if in_path else "query",
        "required": in_path or parameter.required,
        "schema": _schema(parameter),
    }


def _body(parameters: list[Parameter]) -> dict[str, Any]:
    required = [each.name for each in parameters if each.required]
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {each.name: _schema(each) for each in parameters},
        "additionalProperties": False,
    }
    if required:
        schema["required"] = required
    return {"required": bool(required), "content": {"application/json": {"schema": schema}}}


def _schema(parameter: Parameter) -> dict[str, Any]:
    schema = dict(parameter.kind.schema)
    if not parameter.required and isinstance(parameter.default, str | int | float | bool):
        schema["default"] = parameter.default
    if parameter.kind.secret:
        schema["writeOnly"] = True
    return schema


def _responses(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    responses: dict[str, Any]
    if operation.result is type(None):
        responses = {"204": {"description": "It is done."}}
    else:
        content = {"application/json": {"schema": schemas.of(operation.result)}}
        responses = {"200": {"description": "What was asked for.", "content": content}}
    problem = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for status in _problems(operation):
        responses[str(status.value)] = {"description": status.phrase, "content": problem}
    return responses


def _problems(operation: Operation) -> list[HTTPStatus]:
    """With what an operation may be answered where it cannot be."""
    found = [HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND]
    if operation.changes:
        found.append(HTTPStatus.CONFLICT)
    if has_body(operation):
        found += [HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE]
    return [*found, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE]
