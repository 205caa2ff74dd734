"""Entries of the journal as JSON; tests/integration/test_sources.py has a real journal."""

from __future__ import annotations

import json

import pytest

from d4sensor.source.journal import encode


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text", "text"),
        ("two\nlines\tand äöü", "two\nlines\tand äöü"),
        (b"a known field", "a known field"),
        (b"\xff\x00", [255, 0]),
        ("\x1b[31mred", [27, 91, 51, 49, 109, 114, 101, 100]),
        ("\x7f", [127]),
        ("\x85", [0xC2, 0x85]),
        (["one", b"\xff"], ["one", [255]]),
        (1_700_000_000_000_000, "1700000000000000"),
        ((123456, b"boot"), "123456"),
    ],
)
def test_a_value_is_what_journalctl_prints(value: object, expected: object) -> None:
    line = encode({"FIELD": value})
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert json.loads(line) == {"FIELD": expected}
