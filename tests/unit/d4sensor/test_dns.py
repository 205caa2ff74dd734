"""The question of a DNS message."""

from __future__ import annotations

import frames
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4sensor.dns import DnsError, Question, question

labels = st.binary(min_size=1, max_size=63)


@pytest.mark.parametrize(
    ("section", "asked"),
    [
        (frames.question("www.Evil.TLD", 28), Question("www.evil.tld", 28, 1)),
        (frames.question("a.tld", 255, 3) + b"more", Question("a.tld", 255, 3)),
        (b"\0\0\2\0\1", Question("", 2, 1)),
        (frames.question(f"{'x' * 63}.tld"), Question(f"{'x' * 63}.tld", 1, 1)),
        (b"\3\xffA.\0\0\1\0\1", Question("ÿa.", 1, 1)),
    ],
)
def test_question(section: bytes, asked: Question) -> None:
    assert question(section) == asked


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        (b"", "the name does not end"),
        (b"\1a", "the name does not end"),
        (b"\5abc", "the name does not end"),
        (b"\1a\0\0\1\0", "ends before its type and class"),
        (b"\xc0\x0c\0\1\0\1", "a label of 192 bytes"),
        (b"\x40" + bytes(70), "a label of 64 bytes"),
        (b"\x01a" * 127 + b"\1a\0\0\1\0\1", "a name of 257 bytes"),
    ],
)
def test_what_is_no_question(section: bytes, reason: str) -> None:
    with pytest.raises(DnsError, match=reason):
        question(section)


def test_longest_name() -> None:
    assert len(question(b"\x01a" * 127 + b"\0\0\1\0\1").name) == 253


def test_cut_at_every_byte() -> None:
    whole = frames.question("www.evil.tld")
    for size in range(len(whole)):
        with pytest.raises(DnsError):
            question(whole[:size])


@given(st.binary(max_size=300))
def test_any_bytes_are_a_question_or_an_error(section: bytes) -> None:
    try:
        asked = question(section)
    except DnsError:
        return
    assert len(asked.name) <= 253
    assert 0 <= asked.type < 65536


@given(st.lists(labels, max_size=3), st.integers(0, 65535), st.integers(0, 65535))
def test_name_is_its_labels(parts: list[bytes], kind: int, class_: int) -> None:
    section = b"".join(bytes((len(part),)) + part for part in parts) + b"\0"
    section += kind.to_bytes(2, "big") + class_.to_bytes(2, "big")
    assert question(section) == Question(b".".join(parts).decode("latin-1").lower(), kind, class_)
