"""What TLS shows before it encrypts."""

from __future__ import annotations

import struct

import frames
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4sensor.tls import TlsError, certificate, hello, ja3, ja4, message, traits

PLAIN = frames.hello_message(extensions=[frames.server_name("Shop.TLD")])
DER = b"\x30\x82" + bytes(range(200))


def numbers(*values: int) -> bytes:
    """Numbers of two bytes each."""
    return struct.pack(f"!{len(values)}H", *values)


def listed(*values: int) -> bytes:
    """A list of numbers of two bytes each, with its size."""
    return numbers(2 * len(values), *values)


def test_hello() -> None:
    found = hello(PLAIN)
    assert (found.version, found.ciphers, found.server_name) == (0x0303, b"\x13\x01", "shop.tld")
    assert hello(frames.hello_message()).server_name == ""


@pytest.mark.parametrize("size", [2, 3, 40, 16384])
def test_message_in_any_records(size: int) -> None:
    assert message(frames.records(PLAIN, size)) == PLAIN
    assert message(frames.records(PLAIN, size) + b"\x14\x03\x03\0\1\1") == PLAIN


def test_message_in_too_many_records() -> None:
    with pytest.raises(TlsError, match="records"):
        message(frames.records(frames.certificate(DER), 1))


def test_there_must_be_more_of_it() -> None:
    whole = frames.records(PLAIN, 30)
    assert all(message(whole[:size]) is None for size in range(len(whole)))


def test_first_certificate() -> None:
    flight = frames.server_hello() + frames.certificate(DER, b"another")
    found = message(frames.records(flight))
    assert found and certificate(found) == DER
    assert certificate(message(frames.records(flight, 50)) or b"") == DER
    found = message(frames.records(frames.certificate(DER)))
    assert found and certificate(found) == DER
    # What follows the first certificate is not waited for.
    flight = frames.records(frames.certificate(DER, bytes(3000)))
    assert certificate(message(flight[:300]) or b"") == DER


def test_certificate_must_still_come() -> None:
    flight = frames.records(frames.server_hello() + frames.certificate(DER), 60)
    assert all(message(flight[:size]) is None for size in range(len(flight) - 6))


def test_no_certificate_in_the_clear() -> None:
    assert message(frames.records(frames.server_hello(0x0304))) == b""
    resumed = frames.records(frames.server_hello()) + b"\x14\x03\x03\0\1\1"
    assert message(resumed) == b""
    assert message(frames.records(frames.server_hello() + frames.handshake_message(4, b"ticket"))) == b""


@pytest.mark.parametrize("data", [b"\x17\x03\x03\0\5hello", b"\x16\x04\x03\0\5hello", b"\x16\x03\x03\0\0"])
def test_no_handshake(data: bytes) -> None:
    with pytest.raises(TlsError):
        message(data)


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        PLAIN[:-1],
        PLAIN + b"x",
        frames.handshake_message(2, PLAIN[4:]),
        frames.handshake_message(1, PLAIN[4:-1]),
        frames.handshake_message(1, PLAIN[4:] + b"x"),
        frames.handshake_message(1, PLAIN[4:40]),
        frames.hello_message(extensions=[(0, b"\0")]),
        frames.hello_message(extensions=[frames.server_name("a" * 256)]),
    ],
)
def test_broken_hello(broken: bytes) -> None:
    with pytest.raises(TlsError):
        hello(broken)


@pytest.mark.parametrize("broken", [b"", PLAIN, frames.certificate(), frames.certificate(DER)[:-1]])
def test_broken_certificate(broken: bytes) -> None:
    with pytest.raises(TlsError):
        certificate(broken)


def test_published_ja3() -> None:
    # 769,47-53-5-10-49161-49162-49171-49172-50-56-19-4,0-10-11,23-24-25,0
    client = frames.hello_message(
        (47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4),
        [frames.server_name("a.tld"), (10, listed(23, 24, 25)), (11, b"\1\0")],
        version=769,
    )
    assert ja3(hello(client)) == "ada70206e40642a3e4461f35503241d5"


def test_published_ja3_without_extensions() -> None:
    # 769,4-5-10-9-100-98-3-6-19-18-99,,,
    client = frames.hello_message((4, 5, 10, 9, 100, 98, 3, 6, 19, 18, 99), version=769)
    assert ja3(hello(client)) == "de350869b8c85de67a350c8d186f11e6"


CHROME = (
    *(0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8),
    *(0xC013, 0xC014, 0x009C, 0x009D, 0x002F, 0x0035),
)
SIGNATURES = listed(0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601)


def chrome(*grease: int) -> bytes:
    """The client of JA4's documentation; with values of GREASE in all places where it has them."""
    extensions = [
        *((kind, b"") for kind in (*grease, 0x001B)),
        frames.server_name("a.tld"),
        (0x0033, b""),
        (0x0010, b"\0\x0c\2h2\x08http/1.1"),
        *((kind, b"") for kind in (0x4469, 0x0017, 0x002D)),
        (0x000D, SIGNATURES),
        *((kind, b"") for kind in (0x0005, 0x0023, 0x0012)),
        (0x002B, bytes((2 * len((*grease, 1, 2)),)) + numbers(*grease, 0x0304, 0x0303)),
        (0xFF01, b""),
        (0x000B, b"\1\0"),
        (0x000A, listed(*grease, 29, 23, 24)),
        (0x0015, b""),
    ]
    return frames.hello_message((*grease, *CHROME), extensions)


def test_published_ja4() -> None:
    assert ja4(hello(chrome()), "t") == "t13d1516h2_8daaf6152771_e5627efa2ab1"
    assert ja4(hello(chrome()), "q") == "q13d1516h2_8daaf6152771_e5627efa2ab1"


def test_grease_changes_no_fingerprint() -> None:
    plain, greased = hello(chrome()), hello(chrome(0x0A0A, 0xFAFA))
    assert ja4(greased, "t") == ja4(plain, "t")
    assert ja3(greased) == ja3(plain)


@pytest.mark.parametrize(
    ("version", "extensions", "start"),
    [
        (0x0303, [], "t12i010000_"),
        (0x0301, [], "t10i010000_"),
        (0x0300, [], "ts3i010000_"),
        (0x7777, [], "t00i010000_"),
        (0x0303, [(16, b"\0\2\1h")], "t12i0101hh_"),
        (0x0303, [(16, b"\0\4\3\xab\x12\xcd")], "t12i0101ad_"),
        (0x0303, [(16, b"\0\3\2h\xab")], "t12i01016b_"),
        (0x0303, [(16, b"")], "t12i010100_"),
        (0x0303, [(kind, b"") for kind in range(100, 220)], "t12i019900_"),
    ],
)
def test_beginning_of_ja4(version: int, extensions: list[tuple[int, bytes]], start: str) -> None:
    found = ja4(hello(frames.hello_message(extensions=extensions, version=version)), "t")
    assert found.startswith(start)


def test_ja4_of_a_client_that_offers_nothing() -> None:
    assert ja4(hello(frames.hello_message(())), "t") == "t12i000000_000000000000_000000000000"


def test_traits_leave_out_what_changes_with_the_server() -> None:
    one = hello(frames.hello_message(extensions=[frames.server_name("a.tld"), (51, b"key")]))
    other = hello(frames.hello_message(extensions=[frames.server_name("bb.tld"), (51, b"other")]))
    assert traits(one) == traits(other)
    assert traits(one) != traits(hello(PLAIN))


@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    for given_ in (data, b"\x16\x03\x01\1\0" + data, frames.records(b"\1\0\0" + data)):
        try:
            found = message(given_)
            if found and found[0] == 1:
                ja3(hello(found)), ja4(hello(found), "t")
            elif found:
                certificate(found)
        except TlsError:
            pass


@given(st.integers(0, len(PLAIN) - 1), st.binary(min_size=1, max_size=3))
def test_any_change_of_a_hello(at: int, change: bytes) -> None:
    try:
        found = hello(PLAIN[:at] + change + PLAIN[at + len(change) :])
    except TlsError:
        return
    assert len(ja3(found)) == 32
    assert len(ja4(found, "t")) == 36
