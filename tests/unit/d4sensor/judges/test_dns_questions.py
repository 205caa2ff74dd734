"""Questions of many messages at once."""

from __future__ import annotations

from collections import Counter

import frames
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sensing import batch

from d4sensor import dns
from d4sensor.headers import Window
from d4sensor.judges import dns_messages, dns_questions
from d4sensor.judges.dns_messages import Messages
from d4sensor.judges.dns_names import is_judged
from d4sensor.judges.dns_rows import texts
from d4sensor.sieve import sieve


def asked(*messages: bytes) -> list[tuple[str, int] | None]:
    """The name that each message asks for, and how many labels it has; None for what was not read."""
    sizes = [len(message) for message in messages]
    start = np.array([sum(sizes[:n]) for n in range(len(sizes))], dtype=np.intp)
    end = start + np.array(sizes, dtype=np.intp)
    unread, names = dns_questions.find(Window(b"".join(messages)), Messages(start, start, end))
    found = zip(texts(names.rows), names.labels.tolist(), unread.tolist(), strict=True)
    return [None if unread else (name, labels) for name, labels, unread in found]


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("evil.tld", 2),
        ("WWW.Evil.tld", 3),
        ("tld", 1),
        ("a.b.c.d.e.f.g.h.i", 9),
        ("x" * 44, 1),
        (f"{'x' * 36}.{'y' * 23}", 2),
    ],
)
def test_one_plain_question(name: str, labels: int) -> None:
    assert asked(frames.dns(name), frames.dns("x.y")) == [(name.lower(), labels), ("x.y", 2)]


@pytest.mark.parametrize(
    "message",
    [
        frames.dns_message(frames.question("a.tld"), frames.question("b.tld")),
        frames.dns_message(b"\1a\xc0\x0c\0\1\0\1"),
        frames.dns(f"{'x' * 37}.{'y' * 23}"),
        frames.dns(f"{'x' * 40}.{'y' * 40}"),
        frames.dns("x" * 45),
        frames.dns("evil.tld")[:-1],
        frames.dns("evil.tld")[:-6],
        frames.dns_message(b"\x2cx\0\1\0\1"),
        frames.dns_message(b"\4ev\0l\0\0\1\0\1"),
        frames.dns_message(b"\4ev\1l\0\0\1\0\1"),
        frames.dns_message(b"\0\0\1\0\1"),
    ],
)
def test_what_is_not_as_usual(message: bytes) -> None:
    assert asked(message, frames.dns("x.y")) == [None, ("x.y", 2)]
    assert asked(frames.dns("x.y"), message) == [("x.y", 2), None]


@pytest.mark.parametrize(
    "section", [frames.question("a.tld", frames.PTR), frames.question("a.tld", class_=3)]
)
def test_what_no_trail_could_answer(section: bytes) -> None:
    assert asked(frames.dns_message(section)) == [("a.tld", 0)]


@pytest.mark.parametrize("label", [b"ev.il", b"ev\xffil", b"ev/il", b"ev\x7fil"])
def test_name_of_other_characters_than_hosts_have(label: bytes) -> None:
    section = bytes((len(label),)) + label + b"\3tld\0\0\1\0\1"
    assert asked(frames.dns_message(section)) == [("ev?il.tld", 2)]


def test_no_messages() -> None:
    assert asked() == []


usual = st.lists(st.text("aZ09-_", min_size=1, max_size=44), min_size=1, max_size=8).map(".".join)


@given(usual)
def test_name_is_that_of_the_parser_if_it_is_short(name: str) -> None:
    labels = name.count(".") + 1
    assert asked(frames.dns(name)) == [(name.lower(), labels) if len(name) <= 60 else None]


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=5))
def test_any_question_is_that_of_the_parser_or_left_to_it(sections: list[bytes]) -> None:
    messages = [frames.dns_message(section) for section in sections]
    for section, found in zip(sections, asked(*messages), strict=True):
        if not found:
            continue
        question, (name, labels) = dns.question(section), found
        assert (labels > 0) == (question.of_internet and question.type != dns.PTR)
        if is_judged(name) or is_judged(question.name):
            assert name == question.name


def test_whole_batch() -> None:
    packets = [frames.query("10.0.0.1", f"n{n}.tld") for n in range(50)]
    traffic = sieve(batch(*packets), Counter())
    queries, _ = dns_messages.find(traffic)
    _, names = dns_questions.find(traffic.window, queries)
    assert texts(names.rows) == [f"n{n}.tld" for n in range(50)]
