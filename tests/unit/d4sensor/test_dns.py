"""DNS messages, and questions alone."""

from __future__ import annotations

import struct

import frames
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4sensor import dns
from d4sensor.dns import DnsError, Message, Question, Record, parse, question, questions

CNAME = 5
labels = st.binary(min_size=1, max_size=63)


def header(asked: int, answers: int = 0, flags: int = 0x0100) -> bytes:
    """A header."""
    return struct.pack("!HHHHHH", 0x1234, flags, asked, answers, 0, 0)


def record(name: bytes, kind: int, data: bytes) -> bytes:
    """A record."""
    return name + struct.pack("!HHIH", kind, 1, 300, len(data)) + data


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
    assert questions(header(1) + section) == [asked]


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
    with pytest.raises(DnsError):
        questions(header(1) + section)


def test_longest_name() -> None:
    assert len(question(b"\x01a" * 127 + b"\0\0\1\0\1").name) == 253


def test_cut_at_every_byte() -> None:
    whole = frames.question("www.evil.tld")
    for size in range(len(whole)):
        with pytest.raises(DnsError):
            question(whole[:size])


def test_several_questions_with_compressed_names() -> None:
    first, second = frames.question("www.evil.tld"), b"\3Cdn\xc0\x10" + struct.pack("!HH", 28, 1)
    assert questions(header(2) + first + second) == [
        Question("www.evil.tld", 1, 1),
        Question("cdn.evil.tld", 28, 1),
    ]


def test_name_that_points_forward() -> None:
    message = header(1) + b"\xc0\x12\0\1\0\1" + frames.dns_name("evil.tld")
    assert questions(message) == [Question("evil.tld", 1, 1)]


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        (b"\xc0\x0c\0\1\0\1", "points to itself"),
        (b"\1a\xc0\x0c\0\1\0\1", "255 is the longest"),
        (b"\xc0\x0e\xc0\x0c\0\1\0\1", "points to itself"),
        (b"\xff\xff\0\1\0\1", "does not end"),
        (b"\xc0", "does not end"),
    ],
)
def test_pointers_that_lead_nowhere(section: bytes, reason: str) -> None:
    with pytest.raises(DnsError, match=reason):
        questions(header(1) + section)


def test_number_of_questions_is_bounded() -> None:
    asked = frames.question("evil.tld")
    assert len(questions(header(dns.MAX_QUESTIONS) + asked * dns.MAX_QUESTIONS)) == dns.MAX_QUESTIONS
    with pytest.raises(DnsError, match="65535 questions"):
        questions(header(65535) + asked * 9)


ANSWER = (
    header(1, 3, 0x8180)
    + frames.question("www.evil.tld")
    + record(b"\xc0\x0c", CNAME, b"\3cdn\xc0\x10")
    + record(b"\3cdn\xc0\x10", dns.A, bytes((192, 0, 2, 1)))
    + record(frames.dns_name("x.y"), dns.AAAA, bytes(16))
)


def test_answers() -> None:
    expected = [
        Record(CNAME, 1, b"\3cdn\xc0\x10"),
        Record(dns.A, 1, bytes((192, 0, 2, 1))),
        Record(dns.AAAA, 1, bytes(16)),
    ]
    assert parse(ANSWER + b"more") == Message(0x8180, [Question("www.evil.tld", 1, 1)], expected, 4)


def test_message_cut_at_every_byte() -> None:
    for size in range(len(ANSWER)):
        with pytest.raises(DnsError):
            parse(ANSWER[:size])


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
    expected = Question(b".".join(parts).decode("latin-1").lower(), kind, class_)
    assert question(section) == expected
    assert questions(header(1) + section) == [expected]


@given(st.integers(0, 9), st.integers(0, 9), st.binary(max_size=200))
def test_any_bytes_behind_a_header(asked: int, answers: int, rest: bytes) -> None:
    check(header(asked, answers) + rest)


@given(st.lists(st.tuples(st.integers(0, len(ANSWER) - 1), st.integers(0, 255)), max_size=6))
def test_message_with_wrong_bytes(changes: list[tuple[int, int]]) -> None:
    message = bytearray(ANSWER)
    for at, value in changes:
        message[at] = value
    check(bytes(message))


@given(st.binary(max_size=100))
def test_any_bytes(message: bytes) -> None:
    check(message)


def check(message: bytes) -> None:
    """Holds a message to what is promised of one, unless it is none."""
    try:
        found = parse(message)
    except DnsError:
        return
    assert all(len(asked.name) <= 253 for asked in found.questions)
    assert 0 <= found.rest <= len(message) - dns.HEADER
    assert sum(len(each.data) for each in found.answers) <= len(message)
