"""Filters of keys."""

from __future__ import annotations

import zlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from d4sensor.filter import Filter


def sums(texts: list[str]) -> np.ndarray:
    """The CRC-32 of each."""
    return np.array([zlib.crc32(text.encode()) for text in texts], dtype=np.uint32)


def test_keys_pass_and_nearly_nothing_else() -> None:
    keys = [f"evil{n}.tld" for n in range(3000)] + ["bücher.tld"]
    found = Filter.of(keys)
    assert found.may_hold(sums(keys)).all()
    others = [f"good{n}.tld" for n in range(10_000)]
    assert np.count_nonzero(found.may_hold(sums(others))) < 200


@given(st.lists(st.text(max_size=3), max_size=50), st.lists(st.text(max_size=3), max_size=50))
def test_of_one_text_it_says_the_same_as_of_many(keys: list[str], others: list[str]) -> None:
    found = Filter.of(keys)
    texts = [*keys, *others]
    assert found.may_hold(sums(texts)).tolist() == [found.may_be(text) for text in texts]


def test_nothing_passes_where_there_are_no_keys() -> None:
    assert not Filter.of([]).may_hold(sums(["", "evil.tld"])).any()
