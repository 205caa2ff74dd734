"""Byte streams that the real D4 clients produced, and what must come out of them.

They are not part of this repository: they lie in ``../shared/corpus/d4`` or where D4_CORPUS says. Those that
no client produced are played to a server in test_synthetic.py, with others of their kind.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pytest
from chunks import bytewise, pieces
from synthetic import CORPUS, KEY, SYNTHETIC

from d4common.packet import Decoder, PacketError
from d4common.session import Data, Hello, MetaHeader, Reason, Receiver, Refused, Rules

RULES = Rules(frozenset({1, 2, 3, 8, 254}), frozenset({"maltrail"}))

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no corpus of client streams at {CORPUS}")

EXPECTED: dict[str, Any] = json.loads((CORPUS / "EXPECTED.json").read_text()) if CORPUS.is_dir() else {}
CLIENTS = [name for name in EXPECTED if "/" not in name]


def receive(chunks: Iterable[bytes]) -> tuple[list[Hello | MetaHeader | Data], Reason | None, int]:
    """What a server makes of a stream: events, the reason of a refusal, bytes that stay behind."""
    receiver, events = Receiver(RULES), list[Hello | MetaHeader | Data]()
    receiver.authenticate(KEY)
    try:
        for chunk in chunks:
            receiver.receive_data(chunk)
            while (event := receiver.next_event()) is not None:
                events.append(event)
    except Refused as refused:
        return events, refused.reason, 0
    return events, None, receiver.buffered


def cuts(stream: bytes) -> list[Iterable[bytes]]:
    """The stream whole, a byte at a time, and as the C client writes it: seven writes per packet."""
    decoder, sizes = Decoder(), list[int]()
    decoder.receive_data(stream)
    with suppress(PacketError):
        while (packet := decoder.next_packet()) is not None:
            sizes += [1, 1, 16, 8, 32, 4, packet.header.size]
    return [[stream], bytewise(stream), pieces(stream, sizes)]


@pytest.mark.parametrize("name", CLIENTS)
def test_stream_of_a_client_decodes_to_what_it_was_given(name: str) -> None:
    expected, stream = EXPECTED[name], (CORPUS / name).read_bytes()
    for chunks in cuts(stream):
        events, refused, behind = receive(chunks)
        assert (refused, behind) == (None, expected["trailing_bytes"])
        data = [event for event in events if isinstance(event, Data)]
        payload = b"".join(event.payload for event in data)
        type, wanted = next((type, one) for type, one in expected["payload"].items() if type != "2")
        assert Counter(event.type for event in data) == {
            "maltrail" if type == "254" else type: expected["packets_per_type"][type]
        }
        assert (len(payload), hashlib.sha256(payload).hexdigest()) == (wanted["bytes"], wanted["sha256"])
        lines = payload.split(b"\n")
        assert len([line for line in lines[:-1] if line]) == wanted["nonempty_complete_lines"]
        assert len(lines[-1]) == wanted["unterminated_tail_bytes"]
        if expected.get("payload_equals_input"):
            assert payload == (CORPUS / expected["input"]).read_bytes()
        meta = [event.document for event in events if isinstance(event, MetaHeader)]
        assert meta == ([expected["meta_json"]] if "meta_json" in expected else [])
        assert isinstance(events[0], Hello) and events[0].sensor.hex == expected["first_packets"][0][2]
        assert [event.timestamp for event in data[:2]] == [
            first[3] for first in expected["first_packets"] if first[1] != 2
        ][:2]


@pytest.mark.parametrize("name", [name for name in SYNTHETIC if f"synthetic/{name}.d4" in EXPECTED])
def test_made_up_stream_is_taken_or_refused(name: str) -> None:
    expected = EXPECTED[f"synthetic/{name}.d4"]
    _, count, reason = SYNTHETIC[name]
    if count is None:
        count = sum(n for type, n in expected["packets_per_type"].items() if type != "2")
    for chunks in cuts((CORPUS / f"synthetic/{name}.d4").read_bytes()):
        events, refused, _ = receive(chunks)
        assert refused == reason
        assert sum(isinstance(event, Data) for event in events) == count
