"""docs/protocol.md shows the bytes that both ends make."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from d4common.acknowledged import AcknowledgedSession
from d4common.packet import Decoder
from d4common.sender import Identity, Sender
from d4common.session import Data, MetaHeader, Receiver, Rules, Session

DOCUMENT = Path(__file__).parents[2] / "docs" / "protocol.md"

KEY = b"an example, not a key"
SENSOR = UUID("ff7ba400-e76c-4053-982d-feec42bdef38")
SPOOL = UUID("5e8e2b0f-2f6c-4d8e-9a53-3a1f0c8d7b21")
NOW = 1795544850


def conversation() -> list[bytes]:
    """The packets of a short session, in the order in which they are sent."""
    client = AcknowledgedSession(Sender(Identity(SENSOR, KEY), 254, {"type": "maltrail"}), SPOOL, 1, 0)
    server = Receiver(Rules(frozenset({254}), frozenset({"maltrail"})), acknowledged=True)
    server.authenticate(KEY)
    sent = client.opening(NOW) + client.packet(1, NOW, b"one line\n")
    server.receive_data(sent)
    events = [event for event in iter(server.next_event, None)][1:]
    assert [type(event) for event in events] == [Session, MetaHeader, Data]
    answers = [server.answer(0, NOW), server.answer(1, NOW)]
    client.receive_data(b"".join(answers))
    assert (client.acknowledged, client.unacknowledged) == (1, 0)
    return [*packets(sent), *answers]


def packets(stream: bytes) -> list[bytes]:
    """A stream, cut where its packets end."""
    decoder, sizes = Decoder(), list[int]()
    decoder.receive_data(stream)
    while (packet := decoder.next_packet()) is not None:
        sizes.append(len(packet.signed))
    return [stream[sum(sizes[:n]) : sum(sizes[: n + 1])] for n in range(len(sizes))]


def dump(data: bytes) -> str:
    """Bytes as the document shows them: 16 a line, with their offset and as text."""
    lines = []
    for offset in range(0, len(data), 16):
        part = data[offset : offset + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"    {offset:04x}  {part.hex(' '):47}  {text}")
    return "\n".join(lines)


def test_the_bytes_of_the_example_are_those_that_are_sent() -> None:
    document = DOCUMENT.read_text()
    assert f"`{KEY.decode()}`" in document and str(SENSOR) in document and str(NOW) in document
    place = 0
    for packet in conversation():
        assert dump(packet) in document, f"the document lacks\n{dump(packet)}"
        assert document.index(dump(packet)) > place, "the order"
        place = document.index(dump(packet))
