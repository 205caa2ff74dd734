"""Kinds of values: what each takes as text and as JSON, and that its schema says so."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from d4server.operations import kinds
from d4server.operations.kinds import Kind

UUID4 = "d43e5a4b-6a1f-4c5e-9d3b-0f2a7c1e8b90"
KINDS: dict[str, Kind[Any]] = {
    "uuid": kinds.UUID4,
    "text": kinds.text(10, least=2),
    "lines": kinds.text(10, lines=True),
    "key": kinds.KEY,
    "integer": kinds.integer(-3, 20),
    "choice": kinds.choice("one", "two"),
    "list": kinds.list_of(kinds.integer(0, 9), 3),
    "span": kinds.span("1s", "2d"),
    "size": kinds.size("1K", "1G"),
    "boolean": kinds.BOOLEAN,
    "entry": kinds.ADDRESS_OR_NETWORK,
    "type": kinds.TYPE,
}

JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([10**400, "\ud800"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("kind", "value", "taken"),
    [
        ("uuid", UUID4, UUID(UUID4)),
        ("uuid", UUID4.replace("-", ""), UUID(UUID4)),
        ("text", " two words", "two words"),
        ("lines", "one\r\ntwo", "one\ntwo"),
        ("key", "secret", b"secret"),
        ("integer", "20", 20),
        ("integer", 20, 20),
        ("integer", 2.0, 2),
        ("choice", "two", "two"),
        ("list", [1, "2"], (1, 2)),
        ("list", "1, 2 3", (1, 2, 3)),
        ("list", "", ()),
        ("span", "24h", 86400.0),
        ("span", 90, 90.0),
        ("size", "64M", 64 << 20),
        ("size", 4096, 4096),
        ("boolean", True, True),
        ("boolean", "no", False),
        ("entry", "192.0.2.7/32", "192.0.2.7"),
        ("type", "ja3-jl", "ja3-jl"),
    ],
)
def test_takes_text_and_json(kind: str, value: Any, taken: Any) -> None:
    assert KINDS[kind].take(value) == taken


@pytest.mark.parametrize(
    ("kind", "value", "problem"),
    [
        ("uuid", 5, "must be text"),
        ("uuid", "d43e5a4b-6a1f-1c5e-9d3b-0f2a7c1e8b90", "version 4"),
        ("text", "a", "must have 2 to 10 printable characters"),
        ("text", "line\nfeed", "printable"),
        ("text", "half \ud800", "printable"),
        ("lines", "bell\a", "printable"),
        ("integer", True, "must be a whole number from -3 to 20"),
        ("integer", 2.5, "whole number"),
        ("integer", 10**400, "whole number"),
        ("integer", "2 ", "whole number"),
        ("choice", "three", "must be one or two"),
        ("choice", ["one"], "must be one or two"),
        ("list", {"a": 1}, "must be a list"),
        ("list", [1, 2, 3, 4], "no more than 3"),
        ("list", [1, 99], "from 0 to 9"),
        ("span", "3d", "from 1s to 2d"),
        ("span", float("nan"), "time span"),
        ("span", 10**400, "from 1s to 2d"),
        ("span", True, "time span"),
        ("size", "1", "from 1K to 1G"),
        ("boolean", 1, "must be text"),
        ("entry", "192.0.2.7/24", "192.0.2.0/24 is"),
        ("type", "a b", "must be at most 64 letters"),
    ],
)
def test_says_what_would_be_right(kind: str, value: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        KINDS[kind].take(value)


@given(JUNK)
def test_junk_is_a_value_error_or_nothing(value: Any) -> None:
    for kind in KINDS.values():
        try:
            kind.take(value)
        except ValueError as error:
            assert str(error)


@pytest.mark.parametrize("kind", KINDS)
def test_the_schema_is_a_schema(kind: str) -> None:
    Draft202012Validator.check_schema(KINDS[kind].schema)


def test_a_key_is_secret_and_a_label_can_be_given() -> None:
    assert kinds.KEY.secret
    assert not kinds.text(5).secret
    assert kinds.text(5).kept_secret().secret
    assert kinds.NAME.labelled("Queue").label == "Queue"
