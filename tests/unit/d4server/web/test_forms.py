"""Forms made from what an operation takes."""

from __future__ import annotations

from typing import Annotated

from d4server.operations import Operation, kinds
from d4server.operations.kinds import BOOLEAN, DESCRIPTION, NAME, PASSWORD, SPAN, UUID4
from d4server.operations.operation import ADMINS, Parameter
from d4server.web import forms

FLAVOUR = kinds.choice("sweet", "sour").labelled("Flavour")


async def _nothing() -> None:
    """Nobody calls it."""


def an_operation(*parameters: Parameter) -> Operation:
    return Operation(
        "cakes.bake", ADMINS, "POST", "/cakes", True, "Bake.", "", parameters, Annotated, _nothing
    )


BAKE = an_operation(
    Parameter("uuid", UUID4, True, None),
    Parameter("name", NAME, True, None),
    Parameter("description", DESCRIPTION, True, None),
    Parameter("flavour", FLAVOUR, False, "sweet"),
    Parameter("password", PASSWORD, False, None),
    Parameter("valid", SPAN, False, 86400.0),
    Parameter("iced", BOOLEAN, False, False),
    Parameter("layers", kinds.integer(1, 9), False, None),
    Parameter("for_whom", kinds.list_of(kinds.text(64)), False, ()),
)


def test_each_parameter_has_its_control() -> None:
    found = {each.name: each for each in forms.fields(BAKE, {}, {}, {}, without={"uuid"})}
    assert {name: each.control for name, each in found.items()} == {
        "name": "text",
        "description": "lines",
        "flavour": "choice",
        "password": "password",
        "valid": "text",
        "iced": "check",
        "layers": "number",
        "for_whom": "text",
    }
    assert found["name"].required and found["name"].most == 64 and found["name"].label == "Name"
    assert not found["description"].required  # it may be empty
    assert found["flavour"].choices == ("sweet", "sour") and found["flavour"].value == "sweet"
    assert found["valid"].value == "1d"
    assert found["for_whom"].label == "For whom"


def test_what_was_typed_is_kept_but_for_secrets_and_what_is_wrong_stands_beside_it() -> None:
    typed = {"name": "<b>", "password": "hunter2hunter2", "valid": "soon", "iced": "yes"}
    problems = {"valid": "must be a time span"}
    found = {each.name: each for each in forms.fields(BAKE, typed, problems, {"name": "Any."})}
    assert [found[name].value for name in typed] == ["<b>", "", "soon", "yes"]
    assert (found["valid"].problem, found["name"].problem, found["name"].hint) == (
        "must be a time span",
        "",
        "Any.",
    )


def test_what_a_sensor_has_now_is_written_as_one_would_type_it() -> None:
    now = {"valid": 5400.0, "iced": True, "for_whom": ("eve", "ann"), "layers": 3}
    found = {each.name: each.value for each in forms.fields(BAKE, now, {}, {})}
    assert {name: found[name] for name in now} == {
        "valid": "90min",
        "iced": "yes",
        "for_whom": "eve ann",
        "layers": "3",
    }


def test_empty_boxes_of_what_need_not_be_given_are_left_out() -> None:
    form = {"name": "", "description": "", "flavour": "", "valid": "2h", "csrf": "x", "unknown": "y"}
    assert forms.values(BAKE, form) == {"name": "", "description": "", "valid": "2h", "iced": "no"}
    assert forms.values(BAKE, {"iced": "yes"}) == {"iced": "yes"}
