"""Names as rows of characters."""

from __future__ import annotations

import zlib

from hypothesis import given
from hypothesis import strategies as st
from naming import rows_of

from d4sensor.judges import dns_rows

label = st.text("aZ09-_", min_size=1, max_size=44)
short = st.lists(label, min_size=1, max_size=30).map(".".join).filter(lambda name: len(name) <= 60)


@given(st.lists(short, max_size=5))
def test_names_can_be_read_again(names: list[str]) -> None:
    assert dns_rows.texts(rows_of(*names).rows) == [name.lower() for name in names]


@given(st.lists(short, max_size=5))
def test_suffixes_and_their_sums(names: list[str]) -> None:
    name, start, sums, last = dns_rows.suffixes(rows_of(*names))
    expected = []
    for n, text in enumerate(map(str.lower, names)):
        dots = [at for at, character in enumerate(text) if character == "."]
        expected += [(n, at, zlib.crc32(text[at:].encode())) for at in (0, *(dot + 1 for dot in dots))]
    assert list(zip(name.tolist(), start.tolist(), sums.tolist(), strict=True)) == expected
    tops = [text.lower().rpartition(".")[2] for text in names]
    assert sums[last].tolist() == [zlib.crc32(top.encode()) for top in tops]


def test_keys_are_those_of_the_text() -> None:
    keys = rows_of("evil.tld", "EVIL.tld", "evil.tlda", "evilt.ld", "a.b", "ab", "x-m-x", "xm-mx").keys()
    assert keys[0] == keys[1]
    assert len(set(keys.tolist())) == 7


def test_names_of_hosts() -> None:
    assert dns_rows.of_hosts(rows_of("a-b_c.D9", "a/b.tld", "ü.tld", "a.tld")).tolist() == [1, 0, 0, 1]
