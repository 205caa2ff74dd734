"""One stream of bytes, cut in every way that a network may cut it."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import strategies as st

sizes_of_chunks = st.lists(st.integers(0, 200), max_size=20)
"""Sizes for pieces()."""


def pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    """``data`` cut at these sizes, and the rest of it."""
    cut = []
    for size in sizes:
        cut.append(data[:size])
        data = data[size:]
    return [*cut, data]


def bytewise(data: bytes) -> Iterator[bytes]:
    """``data``, a byte at a time."""
    return (data[i : i + 1] for i in range(len(data)))
