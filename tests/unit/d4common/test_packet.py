"""The D4 packet: its bytes, its HMAC, and its stream in any chunks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from uuid import UUID

import pytest
from chunks import bytewise, pieces, sizes_of_chunks
from hypothesis import example, given
from hypothesis import strategies as st

from d4common.packet import HEADER_SIZE, MAX_PAYLOAD, Decoder, Packet, PacketError, encode

KEY = b"private key to change"
SENSOR = UUID("ff7ba400-e76c-4053-982d-feec42bdef38").bytes


def decode(chunks: Iterable[bytes]) -> list[Packet | str]:
    """The packets in ``chunks``, and where the stream ends in something else, the error."""
    decoder, found = Decoder(), list[Packet | str]()
    try:
        for chunk in chunks:
            decoder.receive_data(chunk)
            while (packet := decoder.next_packet()) is not None:
                found.append(packet)
    except PacketError as error:
        found.append(str(error))
    return found


def hmac_by_hand(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA256 as RFC 2104 writes it."""
    key = (hashlib.sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key) + data).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in key) + inner).digest()


def test_packet_is_laid_out_as_the_clients_do() -> None:
    packet = encode(KEY, SENSOR, 254, b"abc\n", timestamp=0x0102030405060708, version=7)
    assert packet[:2] == b"\x07\xfe"
    assert packet[2:18].hex() == "ff7ba400e76c4053982dfeec42bdef38"
    assert packet[18:26] == bytes([8, 7, 6, 5, 4, 3, 2, 1])
    assert packet[58:62] == b"\x04\0\0\0"
    assert packet[62:] == b"abc\n"


@pytest.mark.parametrize("key", [KEY, b"", b"k" * 64, b"k" * 65, bytes(range(256))])
def test_hmac_covers_the_packet_with_its_own_bytes_zero(key: bytes) -> None:
    packet = encode(key, SENSOR, 3, b"line\n", timestamp=1795544850)
    assert packet[26:58] == hmac_by_hand(key, packet[:26] + bytes(32) + packet[58:])


@pytest.mark.parametrize("place", [0, 1, 2, 17, 18, 25, 26, 57, 62, 66])
def test_any_changed_byte_is_noticed(place: int) -> None:
    packet = bytearray(encode(KEY, SENSOR, 3, b"line\n", timestamp=1))
    packet[place] ^= 1
    (decoded,) = decode([bytes(packet)])
    assert isinstance(decoded, Packet)
    assert not decoded.authentic(KEY)


def test_packet_comes_back_as_it_was_made() -> None:
    (packet,) = decode([encode(KEY, SENSOR, 8, b"\0\xff", timestamp=2**64 - 1, version=255)])
    assert isinstance(packet, Packet)
    assert packet.header[:4] == (255, 8, SENSOR, 2**64 - 1)
    assert (packet.payload, packet.authentic(KEY), packet.authentic(b"other")) == (b"\0\xff", True, False)


@given(st.lists(st.binary(max_size=150), max_size=8), sizes_of_chunks, st.integers(0, HEADER_SIZE + 20))
def test_any_chunks_give_what_the_whole_gives(payloads: list[bytes], sizes: list[int], missing: int) -> None:
    stream = b"".join(encode(KEY, SENSOR, 1, payload, 1) for payload in payloads)
    stream = stream[: max(0, len(stream) - missing)]
    assert decode(pieces(stream, sizes)) == decode([stream])


def test_seven_writes_and_a_short_tail_are_one_packet() -> None:
    packet = encode(KEY, SENSOR, 3, b"a line of 20 bytes.\n", timestamp=1)
    for sizes in ([1, 1, 16, 8, 32, 4], [30, 32], [len(packet) - 1]):
        assert decode(pieces(packet, sizes)) == decode([packet])


def test_empty_packets_are_packets() -> None:
    packets = decode([encode(KEY, SENSOR, 3, b"", 1) * 3])
    assert [packet.payload for packet in packets if isinstance(packet, Packet)] == [b""] * 3


def test_largest_payload_is_taken_and_one_byte_more_refused_on_the_header() -> None:
    largest = encode(KEY, SENSOR, 1, bytes(MAX_PAYLOAD), 1)
    (packet,) = decode([largest])
    assert isinstance(packet, Packet) and len(packet.payload) == MAX_PAYLOAD
    claim = largest[:58] + (MAX_PAYLOAD + 1).to_bytes(4, "little")
    assert decode([claim]) == ["claims 1000001 bytes; 1000000 is the most"]
    with pytest.raises(ValueError, match="1000001 bytes; 1000000 is the most"):
        encode(KEY, SENSOR, 1, bytes(MAX_PAYLOAD + 1), 1)


def test_packets_before_a_broken_one_are_given_out() -> None:
    good, broken = encode(KEY, SENSOR, 1, b"x", 1), b"\xff" * HEADER_SIZE
    found = decode([good + broken + good])
    assert [type(one) for one in found] == [Packet, str]


def test_header_is_known_before_its_payload() -> None:
    decoder = Decoder()
    packet = encode(KEY, SENSOR, 3, b"x" * 100, timestamp=5)
    decoder.receive_data(packet[: HEADER_SIZE - 1])
    assert decoder.next_header() is None
    decoder.receive_data(packet[HEADER_SIZE - 1 : HEADER_SIZE])
    header = decoder.next_header()
    assert header is not None and (header.type, header.size) == (3, 100)
    assert decoder.next_packet() is None and len(decoder) == HEADER_SIZE
    decoder.receive_data(packet[HEADER_SIZE:])
    assert decoder.next_packet() is not None and len(decoder) == 0


@given(st.binary(max_size=400))
@example(b"\0" * 62)
@example(b"\xff" * 62)
def test_any_bytes_are_packets_or_a_packet_error(data: bytes) -> None:
    assert decode(bytewise(data)) == decode([data])
