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
from d4sensor.sieve import sieve


def asked(*messages: bytes) -> list[tuple[bytes, int]]:
    """The question of each message, and how many labels its name has."""
    sizes = [len(message) for message in messages]
    start = np.array([sum(sizes[:n]) for n in range(len(sizes))], dtype=np.intp)
    data = b"".join(messages)
    found = dns_questions.find(Window(data), Messages(start, start, start + np.array(sizes, dtype=np.intp)))
    columns = (column.tolist() for column in found)
    return [(data[begin:end], labels) for begin, end, labels in zip(*columns, strict=True)]


@pytest.mark.parametrize(
    ("name", "labels"),
    [("evil.tld", 2), ("WWW.Evil.tld", 3), ("tld", 1), ("a.b.c.d.e.f.g.h", 8), ("x" * 44, 1)],
)
def test_one_plain_question(name: str, labels: int) -> None:
    section = frames.question(name)
    assert asked(frames.dns(name), frames.dns("x.y")) == [(section, labels), (frames.question("x.y"), 2)]
    assert dns_questions.name(section, labels) == name.lower()


@pytest.mark.parametrize(
    "message",
    [
        frames.dns_message(frames.question("a.tld"), frames.question("b.tld")),
        frames.dns_message(b"\1a\xc0\x0c\0\1\0\1"),
        frames.dns("a.b.c.d.e.f.g.h.i"),
        frames.dns("x" * 45),
        frames.dns("evil.tld")[:-1],
        frames.dns("evil.tld")[:-6],
        frames.dns_message(b"\x2cx\0\1\0\1"),
    ],
)
def test_what_is_not_as_usual(message: bytes) -> None:
    assert asked(message, frames.dns("x.y")) == [(b"", 0), (frames.question("x.y"), 2)]


@pytest.mark.parametrize(
    "section", [frames.question("a.tld", frames.PTR), frames.question("a.tld", class_=3)]
)
def test_what_no_trail_could_answer(section: bytes) -> None:
    assert asked(frames.dns_message(section)) == [(section, 0)]


@pytest.mark.parametrize("label", [b"ev\4il", b"ev.il", b"ev\0il", b"ev\xffil", b"ev il"])
def test_name_of_other_characters_than_hosts_have(label: bytes) -> None:
    section = bytes((len(label),)) + label + b"\3tld\0\0\1\0\1"
    assert not is_judged(dns_questions.name(section, 2))


def test_no_messages() -> None:
    assert asked() == []


texts = st.lists(st.text("aZ09-_", min_size=1, max_size=44), min_size=1, max_size=8).map(".".join)


@given(texts)
def test_name_is_that_of_the_parser(name: str) -> None:
    ((section, labels),) = asked(frames.dns(name))
    assert dns_questions.name(section, labels) == dns.question(section).name == name.lower()


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=5))
def test_any_question_is_that_of_the_parser_or_left_to_it(sections: list[bytes]) -> None:
    messages = [frames.dns_message(section) for section in sections]
    for section, (found, labels) in zip(sections, asked(*messages), strict=True):
        if not found:
            continue
        question = dns.question(section)
        assert section.startswith(found)
        name = dns_questions.name(found, labels) if labels else ""
        if is_judged(name) or (is_judged(question.name) and labels):
            assert name == question.name


def test_whole_batch() -> None:
    packets = [frames.query("10.0.0.1", f"n{n}.tld") for n in range(50)]
    traffic = sieve(batch(*packets), Counter())
    queries, _ = dns_messages.find(traffic)
    assert dns_questions.find(traffic.window, queries).labels.tolist() == [2] * 50
