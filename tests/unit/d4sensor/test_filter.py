"""Filters of keys."""

from __future__ import annotations

import zlib

import numpy as np

from d4sensor.filter import Filter


def sums(texts: list[str]) -> np.ndarray:
    """The CRC-32 of each."""
    return np.array([zlib.crc32(text.encode()) for text in texts], dtype=np.uint32)


def test_keys_pass_and_nearly_nothing_else() -> None:
    keys = [f"evil{n}.tld" for n in range(3000)] + ["bücher.tld"]
    found = Filter.of(keys)
    assert found.may_hold(sums(keys)).all()
    assert np.count_nonzero(found.may_hold(sums([f"good{n}.tld" for n in range(3000)]))) < 300


def test_nothing_passes_where_there_are_no_keys() -> None:
    assert not Filter.of([]).may_hold(sums(["", "evil.tld"])).any()
