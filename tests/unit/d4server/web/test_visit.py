"""Where the browser may be sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4server.web.visit import go_to, own_path


@pytest.mark.parametrize("path", ["/", "/sensors?state=pending&page=2", "/queues/a%20b"])
def test_own_paths(path: str) -> None:
    assert own_path(path) == path


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sensors",
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "javascript:1",
        "/a\r\nX: y",
        "/ä",
        "/a b",
    ],
)
def test_what_is_none_becomes_the_overview(text: str) -> None:
    assert own_path(text) == "/"


@given(st.text())
def test_whatever_is_sent_the_path_is_ours(text: str) -> None:
    path = own_path(text)
    assert path.startswith("/") and path[1:2] not in ("/", "\\") and path.isascii() and path.isprintable()


def test_what_stands_behind_the_question_mark_is_quoted() -> None:
    assert go_to("/sensors", done="a&b=c").headers["Location"] == "/sensors?done=a%26b%3Dc"
    assert go_to("/").headers["Location"] == "/"
