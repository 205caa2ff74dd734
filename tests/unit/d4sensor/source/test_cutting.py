"""However a stream comes in pieces, its records are the same."""

from __future__ import annotations

from base64 import b64decode
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4sensor.source import cutting
from d4sensor.source.cutting import Base64Line, Chunks, Cutter, Lines


def cut(cutter: Cutter, pieces: list[bytes]) -> list[bytes]:
    """The records of a stream that comes in these pieces."""
    records = []
    for piece in pieces:
        records += cutter.receive(piece)
    return records + cutter.finish()


STREAMS = st.binary(max_size=200) | st.lists(st.sampled_from([b"one", b"\n", b"\r", b"\0"])).map(b"".join)


@st.composite
def in_pieces(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A stream, and the same in pieces."""
    stream = draw(STREAMS)
    cuts = sorted(draw(st.sets(st.integers(0, len(stream)), max_size=8)) | {0, len(stream)})
    return stream, [stream[start:end] for start, end in pairwise(cuts)]


@given(in_pieces())
def test_lines_are_whole_and_all_there(case: tuple[bytes, list[bytes]]) -> None:
    stream, pieces = case
    records = cut(Lines(), pieces)
    assert b"".join(records) == stream + (b"\n" if stream and not stream.endswith(b"\n") else b"")
    assert all(record.count(b"\n") == 1 and record.endswith(b"\n") for record in records)


@given(in_pieces())
def test_chunks_are_the_stream(case: tuple[bytes, list[bytes]]) -> None:
    stream, pieces = case
    assert b"".join(cut(Chunks(), pieces)) == stream


@given(in_pieces())
def test_base64_is_one_line_of_the_stream(case: tuple[bytes, list[bytes]]) -> None:
    stream, pieces = case
    line = b"".join(cut(Base64Line(), pieces))
    assert line.count(b"\n") == 1 and line.endswith(b"\n")
    assert b64decode(line, validate=False) == stream


@given(in_pieces())
def test_a_record_can_be_read_again_from_where_the_last_ended(case: tuple[bytes, list[bytes]]) -> None:
    stream, pieces = case
    cutter, read, records = Lines(), 0, b""
    for piece in pieces:
        records += b"".join(cutter.receive(piece))
        read += len(piece)
        assert records == stream[: read - cutter.held]


def test_a_line_without_end_is_given_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "LONGEST", 10)
    lines = Lines()
    assert lines.receive(b"0123456789") == []
    assert lines.receive(b"a") == [b"0123456789a"]
    assert lines.receive(b"b\nc\n") == [b"b\n", b"c\n"]
