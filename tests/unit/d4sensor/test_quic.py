"""The first packets of QUIC clients."""

from __future__ import annotations

from contextlib import suppress

import frames
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4sensor import tls
from d4sensor.quic import V1, V2, Piece, QuicError, connection_id, pieces

CONNECTION = bytes.fromhex("8394c8f03e515708")
# The CRYPTO frame of RFC 9001, A.2, and of RFC 9369, A.2.
FRAME = bytes.fromhex(
    "060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e86804fe3a47f06a2b69484c"
    "00000413011302010000c000000010000e00000b6578616d706c652e636f6dff01000100000a00080006"
    "001d0017001800100007000504616c706e000500050100000000003300260024001d00209370b2c9caa4"
    "7fbabaf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b0003020304000d0010000e040305"
    "0306030203080408050806002d00020101001c00024001003900320408ffffffffffffffff05048000ff"
    "ff07048000ffff0801100104800075300901100f088394c8f03e51570806048000ffff"
)
HELLO = FRAME[4:]


@pytest.mark.parametrize(
    ("version", "start", "end"),
    [
        (
            V1,
            "c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11d242b123dc9bd8bab936",
            "e221af44860018ab0856972e194cd934",
        ),
        (
            V2,
            "d76b3343cf088394c8f03e5157080000449ea0c95e82ffe67b6abcdb4298b485dd04de806071bf03dcee",
            "a18b2faa745b6fe189cf772a9f84cbfc",
        ),
    ],
)
def test_published_packets(version: int, start: str, end: str) -> None:
    # The packets of RFC 9001 and RFC 9369: the same beginning, and the tag that authenticates the rest.
    packet = frames.quic_initial(FRAME, version, CONNECTION, 2)
    assert packet.startswith(bytes.fromhex(start)) and packet.endswith(bytes.fromhex(end))
    assert pieces(packet) == [Piece(0, HELLO)]
    assert tls.hello(HELLO).server_name == "example.com"


@pytest.mark.parametrize("digits", [1, 2, 3, 4])
def test_packet_number_of_any_size(digits: int) -> None:
    for number in (0, 1, 256**digits - 1):
        assert pieces(frames.quic_initial(FRAME, number=number, digits=digits)) == [Piece(0, HELLO)]


def test_token_and_long_connection_id() -> None:
    packet = frames.quic_initial(FRAME, connection=b"x" * 20, token=b"retried")
    assert pieces(packet) == [Piece(0, HELLO)]
    assert connection_id(packet) == b"x" * 20


def test_pieces_between_other_frames() -> None:
    ack = b"\2\x05\0\1\0\0\0" + b"\3\x05\0\0\0\1\2\3"
    content = b"\0\1" + frames.crypto(5, b"later") + ack + frames.crypto(0, b"first") + b"\x1c\0\0\0"
    assert pieces(frames.quic_initial(content)) == [Piece(5, b"later"), Piece(0, b"first")]


def test_packets_in_one_datagram() -> None:
    datagram = frames.quic_initial(frames.crypto(0, b"one")) + frames.quic_initial(
        frames.crypto(3, b"two"), number=1
    )
    assert pieces(datagram) == [Piece(0, b"one"), Piece(3, b"two")]
    handshake = b"\xe0\0\0\0\1" + bytes(30)
    assert pieces(frames.quic_initial(frames.crypto(0, b"one")) + handshake) == [Piece(0, b"one")]


WHOLE = frames.quic_initial(FRAME)


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\xc0\0\0\0\1\x08",
        bytes(1200),
        WHOLE[:-1],
        WHOLE[:5] + b"\xff" + WHOLE[6:],
        WHOLE[:900] + b"?" + WHOLE[901:],
        WHOLE[:1] + b"\0\0\0\2" + WHOLE[5:],
        b"\xf0" + WHOLE[1:],
        b"\xc0\0\0\0\1\0\0\0\2ab",
        frames.quic_initial(b"\x08stream"),
        frames.quic_initial(b"\x06\0\x7f\xff"),
        frames.quic_initial(bytes(1160) + b"\x06\xff"),
    ],
    ids=lambda datagram: f"{len(datagram)} bytes",
)
def test_no_initial_packet(datagram: bytes) -> None:
    with pytest.raises(QuicError):
        pieces(datagram)


@given(st.binary(max_size=80))
def test_any_bytes(data: bytes) -> None:
    for datagram in (data, b"\xc0\0\0\0\1" + data, frames.quic_initial(data)):
        with suppress(QuicError):
            pieces(datagram)


@given(st.integers(0, len(WHOLE) - 1), st.binary(min_size=1, max_size=3))
def test_any_change_is_found(at: int, change: bytes) -> None:
    changed = WHOLE[:at] + change + WHOLE[at + len(change) :]
    if changed == WHOLE:
        return
    with pytest.raises(QuicError):
        pieces(changed)
