"""Trails that are patterns."""

from __future__ import annotations

import re
import warnings
from contextlib import suppress

import frames
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sensing import told, trails_of

from d4sensor.judges.dns_names import of
from d4sensor.judges.dns_patterns import needed, searches

PATTERNS = [
    r"evil[0-9]{1,2}\.(com|net)",
    r"^[a-z]{2}\-[a-z]{2,3}\.(top|club)$",
    r"(one|two)[0-9a-z]+\.(com|xyz)",
    r"\b(abc|def)[0-9]+\.tld",
    r"a[0-9]?bc*d+\.x[^.]*y",
    r"xyz{0,}\.tld",
    r"[a\]b]+q\.tld",
    r"\x41b[0-9]+\.tld",
    r"a.tld|[b-d]+\.tld",
    r"(?:ab(cd)?ef)+\.tld",
]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("evil12.com", "evil12.com"),
        ("cdn.evil1.net", "(cdn).evil1.net"),
        ("xevil1.com", "(x)evil1.com"),
        ("evil1.com.tld", "evil1.com(.tld)"),
        ("a.b.evil1.community", "(a.b).evil1.com(munity)"),
        ("evil123.com", None),
        ("evil1.org", None),
    ],
)
def test_pattern_is_found_anywhere_in_a_name(name: str, text: str | None) -> None:
    verdict = of(name, trails_of({PATTERNS[0]: "bad"}))
    assert (verdict and verdict.text) == text


def test_in_an_event() -> None:
    assert told({PATTERNS[0]: "bad"}, frames.query("10.0.0.1", "cdn.evil1.net")) == [
        "10.0.0.1 40000 10.0.0.53 53 UDP DNS (cdn).evil1.net"
    ]


def test_name_of_its_own_goes_before_a_pattern() -> None:
    verdict = told({PATTERNS[0]: "bad", "evil1.net": "worse"}, frames.query("10.0.0.1", "cdn.evil1.net"))
    assert verdict[0].endswith("(cdn).evil1.net")


@pytest.mark.parametrize(
    ("pattern", "texts"),
    [
        (PATTERNS[0], ("evil",)),
        (PATTERNS[1], ("top", "club")),
        (PATTERNS[2], ("one", "two")),
        (PATTERNS[4], (".x",)),
        (PATTERNS[5], (".tld",)),
        (PATTERNS[6], ("q.tld",)),
        (PATTERNS[7], ("",)),
        (PATTERNS[8], ("tld",)),
        (PATTERNS[9], (".tld",)),
        (r"ABC[0-9]", ("abc",)),
        (r"ab{2}c+dd", ("dd",)),
        (r"(abcd)?ef", ("ef",)),
        (r"(a[0-9])c", ("a",)),
        (r"(ab|)c", ("c",)),
        (r"abc[0-9]{1,2}d", ("abc",)),
        (r"(?!abc)d", ("",)),
        (r"(advertise|advert|bad)[0-9]", ("advert", "bad")),
        (r"www\.[a-z]\-[a-z]\.(top|club)", ("top", "club")),
        (r"www\.[a-z]", ("www.",)),
        (r"", ("",)),
    ],
)
def test_texts_of_which_all_matches_have_one(pattern: str, texts: tuple[str, ...]) -> None:
    assert needed(pattern) == texts


@given(st.data(), st.sampled_from(PATTERNS))
def test_whatever_matches_has_one_of_those_texts(data: st.DataObject, pattern: str) -> None:
    name = data.draw(st.from_regex(pattern))
    assert any(text in name.lower() for text in needed(pattern))


@given(st.text(r"ab.\\[](){}*+?|^$-x0"))
def test_any_expression(pattern: str) -> None:
    with warnings.catch_warnings(), suppress(re.error):
        warnings.simplefilter("ignore")
        expression = re.compile(pattern)
        for name in ("", "a", "b", "ab", "a.b", "abab", "x0-ab", "aa.bb"):
            match = expression.search(name)
            assert match is None or any(text in name for text in needed(pattern))


@given(st.data(), st.lists(st.sampled_from(PATTERNS), max_size=4))
def test_nothing_is_searched_for_where_nothing_can_be_found(data: st.DataObject, patterns: list[str]) -> None:
    found = searches(trails_of(dict.fromkeys(patterns, "bad")))
    for pattern in patterns:
        assert found.any.search(data.draw(st.from_regex(pattern)).lower())
    assert not patterns or found.any.search("") is None or "" in found.texts()


def test_patterns_of_many_characters_and_of_none() -> None:
    trails = trails_of({"x" * 3000 + "[0-9]": "bad"})
    assert of("x" * 3000 + "1.tld", trails)
    assert not searches(trails_of({})).any.search("evil1.com")
