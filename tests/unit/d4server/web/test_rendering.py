"""How values are written on pages."""

from __future__ import annotations

import time

import pytest

from d4server.web import rendering


@pytest.mark.parametrize(
    ("count", "written"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1024, "1.0 KiB"),
        (592 << 10, "592 KiB"),
        (3 << 40, "3.0 TiB"),
        (5 << 50, "5120 TiB"),
    ],
)
def test_sizes(count: int, written: str) -> None:
    assert rendering.size(count) == written


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3700, "1 h 1 min"), (190_000, "2 d 4 h")],
)
def test_spans(seconds: float, written: str) -> None:
    assert rendering.span(seconds) == written


def test_times_are_utc_with_what_a_script_needs_to_make_them_local() -> None:
    assert (
        rendering.when(1_764_000_000)
        == '<time datetime="2025-11-24T16:00:00+00:00">2025-11-24 16:00 UTC</time>'
    )
    assert "–" in rendering.when(0) and "–" in rendering.when(None)
    past = int(time.time()) - 7300
    assert rendering.ago(past).endswith(">2 h ago</time>")
    assert "UTC" in rendering.ago(past)
    assert ">just now<" in rendering.ago(time.time() + 5)
    assert "never" in rendering.ago(None)


def test_bytes_are_lines_of_digits_and_letters() -> None:
    assert rendering.dump(bytes(range(0x3A, 0x4B)).hex()).splitlines() == [
        "0000  3a 3b 3c 3d 3e 3f 40 41 42 43 44 45 46 47 48 49  :;<=>?@ABCDEFGHI",
        "0010  4a                                               J",
    ]
    assert rendering.dump("00ff").endswith("  ..")


def test_what_cannot_be_seen_in_a_text_is_written_out() -> None:
    assert rendering.visible("a\tb\nc\x1b[31m\u202e\x85é\n") == "a\tb\nc\\x1b[31m\\u202e\\x85é"
    assert rendering.visible("<b>'\"\\") == "<b>'\"\\"


def test_commands_stand_between_backticks_and_nothing_else_is_markup() -> None:
    assert rendering.commands("run `a <b>` & wait") == "run <code>a &lt;b&gt;</code> &amp; wait"


def test_sentences_begin_with_a_large_letter() -> None:
    assert rendering.capitalised("must be UTF-8") == "Must be UTF-8"
    assert rendering.capitalised("") == ""


@pytest.mark.parametrize(
    ("rate", "written"), [(0.0, "0"), (0.1534, "0.15"), (4.26, "4.3"), (12345.6, "12,346")]
)
def test_rates(rate: float, written: str) -> None:
    assert rendering.rate(rate) == written
