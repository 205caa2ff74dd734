"""The data of a stream's entry as it lies in Redis: as it came, or as an LZ4 block where that is smaller.

What Redis does with an entry costs by its bytes: it copies them four times, keeps them in memory and waits
until they are on the disk. Lines of events shrink to less than half, in a fifth of the time that this saves
(docs/scale.md). LZ4, because nothing else costs less than it saves.
"""

from __future__ import annotations

from collections.abc import Mapping

import lz4.block

from d4common.packet import MAX_PAYLOAD

PLAIN, LZ4 = "data", "lz4"
"""Fields of an entry, which has one of them: the bytes, or a block in LZ4's block format behind the number of
bytes that it holds, which takes four bytes, little-endian."""

WORTH = 512
"""Bytes below which nothing is tried."""

LARGEST = 2 * MAX_PAYLOAD
"""Bytes that a block may say it holds: a payload and the unfinished line before it."""


def compress(data: bytes) -> tuple[str, bytes]:
    """The field for this data, and its value."""
    if len(data) < WORTH:
        return PLAIN, data
    block: bytes = lz4.block.compress(data)
    return (LZ4, block) if len(block) < len(data) * 7 // 8 else (PLAIN, data)


def decompress(fields: Mapping[bytes, bytes]) -> bytes:
    """The data of an entry. Raises KeyError where it has none, and ValueError where the block is none."""
    block = fields.get(LZ4.encode())
    if block is None:
        return fields[PLAIN.encode()]
    if int.from_bytes(block[:4], "little") > LARGEST:
        raise ValueError(f"a block that says it holds more than {LARGEST} bytes")
    try:
        return bytes(lz4.block.decompress(block))
    except lz4.block.LZ4BlockError as error:
        raise ValueError(str(error)) from None
