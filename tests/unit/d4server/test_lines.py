"""Lines out of payloads that were cut anywhere."""

from __future__ import annotations

import itertools

import pytest
from chunks import bytewise, pieces, sizes_of_chunks
from hypothesis import given
from hypothesis import strategies as st

from d4server import lines
from d4server.lines import Lines, Packets

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


# Whole packets of an acknowledged session.

payloads = st.lists(st.sampled_from([b"", b"a", b"a\n", b"\n", b"a\nb", b"x" * 9]), max_size=30)


def together(sent: list[bytes]) -> list[list[bytes]]:
    """How packets are put together, in order; at the end those that wait."""
    taken = Packets()
    groups = [group for payload in sent if (group := taken.receive(payload))]
    return [*groups, sent[sum(map(len, groups)) :]]


@given(payloads)
def test_packets_are_put_together_up_to_the_end_of_a_line(sent: list[bytes]) -> None:
    *groups, waiting = together(sent)
    assert [*itertools.chain(*groups), *waiting] == sent
    for group in groups:
        assert [payload.endswith(b"\n") for payload in group] == [False] * (len(group) - 1) + [True]
    assert not any(payload.endswith(b"\n") for payload in waiting)


@given(payloads, st.integers(0, 30))
def test_packets_that_come_again_are_put_together_as_before(sent: list[bytes], number: int) -> None:
    """From the end of any group on, which is where a client goes on that was told so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "MAX_LINE", 10)
        patch.setattr(lines, "MAX_PACKETS", 5)
        groups = together(sent)
        stored = groups[:number]
        rest = sent[sum(map(len, stored)) :]
        assert together(rest) == (groups[number:] or [[]])


def test_no_more_than_a_line_s_bytes_wait() -> None:
    taken, half = Packets(), b"x" * (lines.MAX_LINE // 2)
    assert [taken.receive(half), taken.receive(half), taken.receive(b"y")] == [[], [], [half, half, b"y"]]
    assert taken.receive(b"z\n") == [b"z\n"]


def test_empty_packets_do_not_wait_for_ever() -> None:
    taken = Packets()
    assert [taken.receive(b"") for _ in range(lines.MAX_PACKETS)] == [[]] * lines.MAX_PACKETS
    assert taken.receive(b"") == [b""] * (lines.MAX_PACKETS + 1)
