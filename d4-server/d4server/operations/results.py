"""What operations give, as JSON, and as JSON Schema of the types that they name.

A result is a NamedTuple or dataclass, a list or tuple, a mapping with text as keys, a UUID, an enumeration's
member, text, a number, true or false, or nothing. Keys and tokens that are shown once are text.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, get_args, get_origin
from uuid import UUID

_PLAIN: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    bytes: {"type": "string"},
    UUID: {"type": "string", "format": "uuid"},
    type(None): {"type": "null"},
    Any: {},
}


def to_json(value: Any) -> Any:
    """A result in terms of what json.dumps() takes."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, StrEnum | UUID):
        return str(value)
    fields = _fields_of(type(value))
    if fields is not None:
        return {name: to_json(getattr(value, name)) for name in fields}
    if isinstance(value, Mapping):
        return {str(key): to_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_json(each) for each in value]
    return value


class Schemas:
    """Schemas of results; those of named types are collected, to stand under #/components/schemas."""

    def __init__(self) -> None:
        self.named: dict[str, dict[str, Any]] = {}
        self._hints: dict[str, Any] = {}
        """By name, the type that was called so first; another one has its module's name before its own."""

    def of(self, hint: Any) -> dict[str, Any]:
        """The schema of a type as an operation's signature has it."""
        if hint in _PLAIN:
            return dict(_PLAIN[hint])
        origin, arguments = get_origin(hint), get_args(hint)
        if origin is typing.Annotated:
            return self.of(arguments[0])
        if origin in (typing.Union, types.UnionType):
            return {"anyOf": [self.of(each) for each in arguments]}
        if origin is typing.Literal:
            return {"enum": list(arguments)}
        if origin is not None and _fields_of(origin) is None:
            return self._container(origin, arguments)
        if isinstance(hint, type) and issubclass(hint, StrEnum):
            return {"type": "string", "enum": [str(each) for each in hint]}
        return self._object(hint)

    def _container(self, origin: Any, arguments: tuple[Any, ...]) -> dict[str, Any]:
        if issubclass(origin, Mapping):
            return {"type": "object", "additionalProperties": self.of(arguments[1])}
        if issubclass(origin, Sequence | set | frozenset):
            return {"type": "array", "items": self.of(arguments[0])}
        raise TypeError(f"{origin} is no type of a result")

    def _object(self, hint: Any) -> dict[str, Any]:
        """A reference to the schema of a NamedTuple or dataclass, which may have a parameter (Page[T])."""
        kind = get_origin(hint) or hint
        fields = _fields_of(kind)
        if fields is None:
            raise TypeError(f"{hint} is no type of a result")
        arguments = get_args(hint)
        name = "".join(each.__name__ for each in (*arguments, kind))
        if self._hints.setdefault(name, hint) != hint:
            name = kind.__module__.rpartition(".")[2].title().replace("_", "") + name
        if name not in self.named:
            self.named[name] = {}  # for types that hold themselves
            hints = typing.get_type_hints(kind)
            bound = dict(zip(getattr(kind, "__parameters__", ()), arguments, strict=True))
            self.named[name] = {
                "type": "object",
                "properties": {each: self.of(_bind(hints[each], bound)) for each in fields},
                "required": list(fields),
                "additionalProperties": False,
            }
        return {"$ref": f"#/components/schemas/{name}"}


def _bind(hint: Any, bound: Mapping[Any, Any]) -> Any:
    """A type whose parameters are replaced by what they stand for."""
    if hint in bound:
        return bound[hint]
    inner = getattr(hint, "__parameters__", ())
    return hint[tuple(bound[each] for each in inner)] if inner else hint


def _fields_of(kind: Any) -> tuple[str, ...] | None:
    """The names of a NamedTuple's or dataclass's fields; None for anything else."""
    if isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return tuple(kind._fields)
    if dataclasses.is_dataclass(kind):
        return tuple(each.name for each in dataclasses.fields(kind))
    return None
