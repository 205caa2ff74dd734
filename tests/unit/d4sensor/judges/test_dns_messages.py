"""Where DNS messages are, on any port."""

from __future__ import annotations

from collections import Counter

import frames
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sensing import batch

from d4sensor.judges.dns_messages import find
from d4sensor.sieve import sieve

QUERY = frames.dns("evil.tld")
ANSWER = frames.dns("evil.tld", flags=0x8180, answer=bytes(4))
OPT = b"\0\0\x29\x10\0\0\0\0\0\0\0"
QUERY_WITH_OPT = QUERY[:11] + b"\1" + QUERY[12:] + OPT
SEVERAL = frames.dns_message(frames.question("a.tld"), frames.question("b.tld"))


def found(*packets: bytes) -> tuple[list[bytes], list[bytes]]:
    """The queries and the responses in these frames."""
    traffic = sieve(batch(*packets), Counter())
    queries, answers = find(traffic)
    places = queries.place.tolist() + answers.place.tolist()
    assert len(places) == len(set(places))
    return (
        [traffic.data[start:end] for start, end in zip(queries.start, queries.end, strict=True)],
        [traffic.data[start:end] for start, end in zip(answers.start, answers.end, strict=True)],
    )


def udp(message: bytes, port: int) -> bytes:
    """A message to a port, over UDP."""
    return frames.udp("10.0.0.1", 40000, "10.0.0.53", port, message)


def tcp(message: bytes, port: int, behind: bytes = b"") -> bytes:
    """A message to a port, over TCP, with other bytes behind it."""
    segment = len(message).to_bytes(2, "big") + message + behind
    return frames.tcp("10.0.0.1", 40000, "10.0.0.53", port, segment)


@pytest.mark.parametrize("port", [53, 5353, 443, 65535])
@pytest.mark.parametrize("query", [QUERY, QUERY_WITH_OPT])
def test_messages_over_udp(port: int, query: bytes) -> None:
    assert found(udp(query, port), udp(ANSWER, port)) == ([query], [ANSWER])


@pytest.mark.parametrize("port", [53, 5353, 443, 65535])
@pytest.mark.parametrize("query", [QUERY, QUERY_WITH_OPT])
def test_messages_over_tcp(port: int, query: bytes) -> None:
    assert found(tcp(query, port), tcp(ANSWER, port)) == ([query], [ANSWER])


def test_from_a_port_and_over_ipv6() -> None:
    assert found(frames.udp("2001:db8::1", 5353, "2001:db8::2", 9, QUERY)) == ([QUERY], [])
    behind = len(QUERY).to_bytes(2, "big") + QUERY
    assert found(frames.tcp("2001:db8::1", 53, "2001:db8::2", 9, behind)) == ([QUERY], [])


def test_first_of_several_in_a_segment_on_port_53_alone() -> None:
    assert found(tcp(QUERY, 53, b"\0\x20" + QUERY)) == ([QUERY], [])
    assert found(tcp(QUERY, 5353, b"\0\x20" + QUERY)) == ([], [])


def test_query_that_asks_mdns_for_an_answer_of_its_own() -> None:
    query = frames.dns("printer.local", class_=0x8001, flags=0)
    assert found(udp(query, 5353)) == ([query], [])


WRONG = [
    QUERY[:-1],
    QUERY + b"x",
    QUERY_WITH_OPT[: -len(OPT)],
    SEVERAL,
    frames.dns("evil.tld", class_=3),
    frames.dns("evil.tld", kind=0),
    frames.dns("evil.tld", answer=bytes(4)),
    *(frames.dns("evil.tld", flags=flags) for flags in (0x0140, 0x0500, 0x0300, 0x0180, 0x0101, 0x2800)),
    *(frames.dns("evil.tld", flags=flags, answer=bytes(4)) for flags in (0x8182, 0x81C0, 0xA800)),
    ANSWER[:-1],
    ANSWER[:6] + b"\0\x65" + ANSWER[8:],
    QUERY[:12] + b"\x40" + QUERY[13:],
    QUERY[:12] + b"\xc0\x0c\0\1\0\1",
    b"",
    QUERY[:12],
    bytes(40),
    b"\xff" * 40,
]


@pytest.mark.parametrize("payload", WRONG)
def test_what_is_no_message_on_other_ports(payload: bytes) -> None:
    assert found(udp(payload, 5353), tcp(payload, 5353), tcp(payload, 53)) == ([], [])


def test_length_that_does_not_fit_over_tcp() -> None:
    for length in (len(QUERY) - 1, len(QUERY) + 1, 0, 65535):
        segment = length.to_bytes(2, "big") + QUERY
        assert found(frames.tcp("10.0.0.1", 1, "10.0.0.2", 5353, segment)) == ([], [])


def test_what_is_on_port_53_over_udp_is_taken_for_dns() -> None:
    assert found(udp(SEVERAL, 53), udp(QUERY + b"x", 53)) == ([SEVERAL, QUERY + b"x"], [])


@given(st.lists(st.binary(max_size=60), max_size=5), st.integers(0, 65535))
def test_any_bytes(payloads: list[bytes], port: int) -> None:
    packets = [make(payload, port) for payload in payloads for make in (udp, tcp)]
    queries, answers = found(*packets, udp(QUERY, port))
    assert queries[-1:] == [QUERY] or port == 53


@given(st.data(), st.sampled_from([QUERY, ANSWER, QUERY_WITH_OPT]))
def test_messages_with_wrong_bytes(data: st.DataObject, message: bytes) -> None:
    wrong = bytearray(message)
    for at in data.draw(st.lists(st.integers(0, len(message) - 1), max_size=4)):
        wrong[at] = data.draw(st.integers(0, 255))
    for packet in (udp(bytes(wrong), 5353), tcp(bytes(wrong), 5353)):
        queries, answers = found(packet)
        assert queries + answers in ([], [bytes(wrong)])


def test_cut_at_every_byte() -> None:
    for packet in (udp(QUERY_WITH_OPT, 5353), tcp(ANSWER, 53)):
        for size in range(len(packet)):
            queries, answers = found(packet[:size], udp(QUERY, 5353))
            assert queries[-1] == QUERY, "what is behind is found all the same"
