"""Lines out of payloads that were cut anywhere."""

from __future__ import annotations

import pytest
from chunks import bytewise, pieces, sizes_of_chunks
from hypothesis import given
from hypothesis import strategies as st

from d4server import lines
from d4server.lines import Lines

texts = st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r\n", b"\x00", b"\xff"]), max_size=60).map(b"".join)


@given(texts, sizes_of_chunks)
def test_any_cutting_gives_the_same_lines(text: bytes, sizes: list[int]) -> None:
    taken = Lines()
    given_out = [taken.receive(piece) for piece in pieces(text, sizes)]
    assert all(whole == b"" or whole.endswith(b"\n") for whole in given_out)
    assert b"".join(given_out) == text[: text.rfind(b"\n") + 1]
    rest = text[text.rfind(b"\n") + 1 :]
    assert taken.finish() == (rest + b"\n" if rest else b"")


@given(texts)
def test_a_line_is_given_out_with_the_payload_that_ends_it(text: bytes) -> None:
    taken = Lines()
    for byte in bytewise(text):
        assert taken.receive(byte).endswith(byte) if byte == b"\n" else taken.receive(byte) == b""


def test_finish_gives_out_once() -> None:
    taken = Lines()
    assert taken.finish() == b""
    taken.receive(b"whole\nhalf")
    assert [taken.finish(), taken.finish()] == [b"half\n", b""]
    assert taken.receive(b"next\n") == b"next\n"


def test_a_line_of_the_most_that_is_waited_for_stays_whole() -> None:
    taken, line = Lines(), b"x" * lines.MAX_LINE
    assert taken.receive(line) == b""
    assert taken.receive(b"\n") == line + b"\n"


@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=20))
def test_no_more_than_the_bound_is_kept_and_nothing_is_lost(parts: list[tuple[int, bool]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "MAX_LINE", 16)
        taken = Lines()
        sent = given_out = b""
        for size, ended in parts:
            payload = b"x" * size + b"\n" * ended
            sent += payload
            given_out += taken.receive(payload)
            assert len(sent.replace(b"\n", b"")) - len(given_out.replace(b"\n", b"")) <= 16
        given_out += taken.finish()
    assert given_out.replace(b"\n", b"") == sent.replace(b"\n", b"")


def test_what_follows_a_line_is_bounded_too() -> None:
    taken, rest = Lines(), b"x" * (lines.MAX_LINE + 1)
    assert taken.receive(b"short\n" + rest) == b"short\n" + rest + b"\n"
    assert taken.finish() == b""
