from __future__ import annotations

import random
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4common.compression import LARGEST, LZ4, PLAIN, WORTH, compress, decompress


def fields(field: str, value: bytes) -> dict[bytes, bytes]:
    return {b"sensor": b"", b"time": b"0", field.encode(): value}


@given(st.binary(max_size=2000), st.integers(1, 50))
def test_what_was_compressed_is_what_it_was(piece: bytes, times: int) -> None:
    data = piece * times
    field, value = compress(data)
    assert decompress(fields(field, value)) == data
    assert len(value) <= len(data)


def test_only_what_gets_smaller_is_compressed() -> None:
    lines = b"a line of some length\n" * 100
    assert compress(lines)[0] == LZ4
    assert compress(lines[: WORTH - 1]) == (PLAIN, lines[: WORTH - 1])
    noise = random.Random(1).randbytes(WORTH)
    assert compress(noise) == (PLAIN, noise)


@given(st.binary(max_size=300))
def test_what_is_no_block_is_refused(block: bytes) -> None:
    with suppress(ValueError):
        assert len(decompress(fields(LZ4, block))) <= LARGEST


def test_a_block_that_claims_too_much_is_refused_before_memory_is_taken() -> None:
    with pytest.raises(ValueError, match="says it holds more"):
        decompress(fields(LZ4, (LARGEST + 1).to_bytes(4, "little") + b"x"))


def test_an_entry_without_data_is_none() -> None:
    with pytest.raises(KeyError):
        decompress({b"sensor": b""})
