"""A form made from what an operation takes: labels, controls, what was typed, what is wrong with it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from d4server.operations import Operation
from d4server.operations.kinds import Kind
from d4server.operations.operation import Parameter


class Field(NamedTuple):
    """One control: ``text``, ``number``, ``password``, ``lines``, ``choice`` or ``check``."""

    name: str
    label: str
    control: str
    value: str
    problem: str
    hint: str
    required: bool
    choices: tuple[str, ...]
    most: int | None
    """Characters."""
    suggestions: tuple[str, ...] = ()
    makes: bool = False
    """Whether a button beside it makes a value."""


def fields(
    operation: Operation,
    values: Mapping[str, Any],
    problems: Mapping[str, str],
    hints: Mapping[str, str],
    without: Collection[str] = (),
) -> list[Field]:
    """Controls for all that an operation takes ``without`` what is known already; secrets are never kept."""
    return [
        _field(each, values.get(each.name), problems.get(each.name, ""), hints.get(each.name, ""))
        for each in operation.parameters
        if each.name not in without
    ]


def values(operation: Operation, form: Mapping[str, str]) -> dict[str, str]:
    """What a form says for an operation: an empty box of what need not be given is left out."""
    taken = dict[str, str]()
    for parameter in operation.parameters:
        value = form.get(parameter.name)
        if _control(parameter) == "check":
            taken[parameter.name] = "yes" if value else "no"
        elif value is not None and (value or parameter.required):
            taken[parameter.name] = value
    return taken


def _field(parameter: Parameter, value: Any, problem: str, hint: str) -> Field:
    kind = parameter.kind
    if value is None and not parameter.required:
        value = parameter.default
    return Field(
        name=parameter.name,
        label=kind.label or parameter.name.replace("_", " ").capitalize(),
        control=_control(parameter),
        value="" if kind.secret else _text(kind, value),
        problem=problem,
        hint=hint,
        required=parameter.required and kind.schema.get("minLength", 1) != 0,
        choices=kind.choices,
        most=kind.schema.get("maxLength"),
    )


def _control(parameter: Parameter) -> str:
    kind = parameter.kind
    if kind.secret:
        return "password"
    if kind.choices:
        return "choice"
    if kind.lines:
        return "lines"
    return {"boolean": "check", "integer": "number"}.get(kind.schema.get("type", ""), "text")


def _text(kind: Kind[Any], value: Any) -> str:
    """A value as one would type it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple | set | frozenset):
        return " ".join(map(str, value))
    return kind.write(value)
