"""Streams that no client should send, and what a server takes of each before it refuses the connection.

Each has the name of the file of the corpus (``CORPUS``/synthetic, which need not be there) that is of its
kind.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from d4common import packet
from d4common.session import Reason

CORPUS = Path(os.environ.get("D4_CORPUS") or Path(__file__).parents[1].parent / "shared/corpus/d4")

KEY = b"private key to change"
SENSOR = UUID("ff7ba400-e76c-4053-982d-feec42bdef38")
TIME = 1795544850


class Synthetic(NamedTuple):
    """A stream that the tests have made; the packets of data that are taken, or all; why it is refused."""

    made: bytes
    taken: int | None
    reason: Reason | None

    def streams(self, name: str) -> list[bytes]:
        """It, and that of the corpus."""
        path = CORPUS / "synthetic" / f"{name}.d4"
        return [self.made, *([path.read_bytes()] if path.exists() else [])]

    def stored(self, stream: bytes) -> dict[str, bytes]:
        """What a server stores of one of its streams, by type; a line feed ends what is made of lines."""
        decoder, stored = packet.Decoder(), dict[str, bytes]()
        decoder.receive_data(stream)
        left = self.taken
        while left != 0 and (each := decoder.next_packet()) is not None:
            if each.header.type != packet.META_HEADER:
                type = "maltrail" if each.header.type == packet.EXTENDED else str(each.header.type)
                stored[type] = stored.get(type, b"") + each.payload
                left = None if left is None else left - 1
        return {type: _ended(type, data) for type, data in stored.items() if data}


def _ended(type: str, data: bytes) -> bytes:
    return data if type in packet.CHUNK_NAMES or data.endswith(b"\n") else data + b"\n"


def _packet(
    type: int,
    payload: bytes = b"x\n",
    uuid: UUID = SENSOR,
    key: bytes = KEY,
    time: int = TIME,
    version: int = 1,
) -> bytes:
    return packet.encode(key, uuid.bytes, type, payload, time, version)


_META = _packet(2, b'{"type":"maltrail"}\n')
_SPLIT = b"".join(_packet(2, part) for part in (b'{"ty', b'pe":"malt', b'rail"}\n'))

SYNTHETIC = {
    "bad_hmac_second": Synthetic(_packet(8) + _packet(8, b"y\n")[:-1] + b"?", 1, Reason.HMAC),
    "wrong_key": Synthetic(_packet(8, key=b"another key"), 0, Reason.HMAC),
    "version_77": Synthetic(_packet(8, version=77), 1, None),
    "uuid_not_v4": Synthetic(
        _packet(8, uuid=UUID("ff7ba400-e76c-1053-982d-feec42bdef38")), 0, Reason.UUID_VERSION
    ),
    "uuid_change": Synthetic(
        _packet(8) + _packet(8, uuid=UUID("5b33722d-d035-47c4-9366-64bc744e42e3")), 1, Reason.UUID_CHANGE
    ),
    "type_change_1_8": Synthetic(_packet(1) + _packet(8), 1, Reason.TYPE_CHANGE),
    "type254_without_2": Synthetic(_packet(254), 0, Reason.NO_META_HEADER),
    "meta_after_254": Synthetic(_META + _packet(254) + _META, 1, Reason.TYPE_CHANGE),
    "meta_invalid_json": Synthetic(_packet(2, b'{"type":"maltrail"') + _packet(254), 0, Reason.META_HEADER),
    "meta_unknown_type": Synthetic(_packet(2, b'{"type":"unheard-of"}') + _packet(254), 0, Reason.META_TYPE),
    "meta_no_type": Synthetic(_packet(2, b'{"kind":"maltrail"}') + _packet(254), 0, Reason.META_HEADER),
    "oversize_claim_1000001": Synthetic(_packet(8)[:58] + (1_000_001).to_bytes(4, "little"), 0, Reason.SIZE),
    "max_size_1000000": Synthetic(_packet(8, b"x" * 999_999 + b"\n"), 1, None),
    "replay_x3": Synthetic(_packet(8) * 3, 3, None),
    "thousand_empty": Synthetic(_packet(8, b"") * 1000, 1000, None),
    "meta_split_3": Synthetic(_SPLIT + _packet(254, b"a\nb") + _packet(254, b"\nc\n"), None, None),
    "ts_zero_and_max": Synthetic(_packet(8, time=0) + _packet(8, time=2**64 - 1), None, None),
    "truncated_mid_header": Synthetic(_packet(8) + _packet(8)[:40], None, None),
    "truncated_mid_payload": Synthetic(_packet(8) + _packet(8, b"x" * 50)[:80], None, None),
}
