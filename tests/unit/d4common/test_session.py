"""Plain D4 from both ends: what a server accepts, in which order, and what a sensor sends."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from chunks import bytewise, pieces, sizes_of_chunks
from hypothesis import given
from hypothesis import strategies as st

from d4common.packet import HEADER_SIZE, MAX_PAYLOAD, encode
from d4common.sender import Identity, Sender, pack_lines
from d4common.session import (
    MAX_META_FRAGMENTS,
    MAX_META_HEADER,
    Data,
    Event,
    Hello,
    MetaHeader,
    Reason,
    Receiver,
    Refused,
    Rules,
)

KEY = b"a key"
SENSOR = UUID("ff7ba400-e76c-4053-982d-feec42bdef38")
OTHER = UUID("ff7ba400-e76c-4053-982d-feec42bdef39")
RULES = Rules(frozenset({1, 2, 3, 8, 254}), frozenset({"maltrail", "ja3-jl"}))
META = b'{"type":"maltrail"}'
NOW = 1795544850


def packet(
    type: int, payload: bytes = b"", uuid: UUID = SENSOR, key: bytes = KEY, time: int = NOW, version: int = 1
) -> bytes:
    return encode(key, uuid.bytes, type, payload, time, version)


def receive(chunks: Iterable[bytes], rules: Rules = RULES) -> list[Event | Reason]:
    """What a server with the sensor's key makes of a stream: its events, and why it refused it, if it did."""
    receiver, found = Receiver(rules), list[Event | Reason]()
    try:
        for chunk in chunks:
            receiver.receive_data(chunk)
            while (event := receiver.next_event()) is not None:
                found.append(event)
                if isinstance(event, Hello):
                    receiver.authenticate(KEY)
    except Refused as refused:
        found.append(refused.reason)
    return found


def summary(*packets: bytes) -> list[Any]:
    """The same in short: the type of a Hello, a meta header's document, the payload of data, a reason."""
    short = {Hello: "type", MetaHeader: "document", Data: "payload"}
    return [getattr(event, short.get(type(event), "value")) for event in receive(packets)]


def oversize(type: int) -> bytes:
    """The header of a packet that claims a byte too many."""
    return packet(type)[:58] + (MAX_PAYLOAD + 1).to_bytes(4, "little")


def versioned(uuid: str) -> bytes:
    return packet(1, b"x", uuid=UUID(uuid))


meta = {"type": "maltrail"}


@pytest.mark.parametrize(
    ("packets", "outcome"),
    [
        # Accepted, as the reference server does.
        ([packet(1, b"")], [1, b""]),
        ([packet(1)] * 1000, [1] + [b""] * 1000),
        ([packet(8, b"a"), packet(8), packet(8, b"b")], [8, b"a", b"", b"b"]),
        ([packet(3, b"x", version=0), packet(3, b"y", version=77)], [3, b"x", b"y"]),
        ([packet(3, b"x", time=0), packet(3, b"y", time=2**64 - 1)], [3, b"x", b"y"]),
        ([packet(3, b"replayed")] * 3, [3] + [b"replayed"] * 3),
        ([packet(2, META), packet(254, b"x"), packet(254)], [2, meta, b"x", b""]),
        ([packet(2, META)], [2, meta]),
        ([packet(2), packet(2, META), packet(2), packet(254, b"x")], [2, meta, b"x"]),
        # Refused on the header, in the reference server's order: size, UUID, type, first packet, changes.
        ([oversize(99)], [Reason.SIZE]),
        ([packet(1, b"x"), oversize(1)], [1, b"x", Reason.SIZE]),
        ([versioned("ff7ba400-e76c-1053-982d-feec42bdef38")], [Reason.UUID_VERSION]),
        ([versioned("ff7ba400-e76c-4053-d82d-feec42bdef38")], [Reason.UUID_VERSION]),
        ([versioned("00000000-0000-0000-0000-000000000000")], [Reason.UUID_VERSION]),
        ([packet(99, uuid=UUID(int=0))], [Reason.UUID_VERSION]),
        ([packet(99)], [Reason.TYPE]),
        ([packet(0)], [Reason.TYPE]),
        ([packet(1, b"x"), packet(99, uuid=OTHER)], [1, b"x", Reason.TYPE]),
        ([packet(254, b"x")], [Reason.NO_META_HEADER]),
        ([packet(1, b"x"), packet(8, b"y")], [1, b"x", Reason.TYPE_CHANGE]),
        ([packet(1), packet(2, META)], [1, b"", Reason.TYPE_CHANGE]),
        ([packet(1), packet(254)], [1, b"", Reason.TYPE_CHANGE]),
        ([packet(2, META), packet(8)], [2, meta, Reason.TYPE_CHANGE]),
        ([packet(2, META), packet(254), packet(2, META)], [2, meta, b"", Reason.TYPE_CHANGE]),
        ([packet(1, b"x"), packet(8, uuid=OTHER)], [1, b"x", Reason.TYPE_CHANGE]),
        ([packet(1, b"x"), packet(1, b"y", uuid=OTHER)], [1, b"x", Reason.UUID_CHANGE]),
        ([packet(2, META), packet(254, uuid=OTHER)], [2, meta, Reason.UUID_CHANGE]),
        # Refused once whole.
        ([packet(1, b"x", key=b"other")], [1, Reason.HMAC]),
        ([packet(1, b"x"), packet(1, b"y", key=b"other"), packet(1, b"z")], [1, b"x", Reason.HMAC]),
        ([packet(2, META, key=b"other")], [2, Reason.HMAC]),
        ([packet(2, META), packet(254, b"x", key=b"other")], [2, meta, Reason.HMAC]),
    ],
)
def test_stream_has_this_outcome_in_any_chunks(packets: list[bytes], outcome: list[Any]) -> None:
    stream = b"".join(packets)
    assert summary(*packets) == summary(stream) == summary(*bytewise(stream)) == outcome


@pytest.mark.parametrize(
    ("fragments", "outcome"),
    [
        ([META + b"\n"], [meta]),
        ([b'{"type"', b':"mal', b'trail"}'], [meta]),
        ([b"{", b"}"[:0], b'"type":"maltrail"', b"}\n"], [meta]),
        (
            [b'{\n  "type": "mal\ntrail",\n  "note": "\xc3', b'\xa9"\n}\n'],
            [{"type": "maltrail", "note": "é"}],
        ),
        ([b'{"a": {"b": 1}', b', "type": "ja3-jl"}'], [{"a": {"b": 1}, "type": "ja3-jl"}]),
        ([META, b"\n"], [meta]),
        ([META, b" \r\n"], [meta]),
        ([b" \r\n", META, b"\t"], [meta]),
        ([META, b'{"type":"ja3-jl"}'], [meta, {"type": "ja3-jl"}]),
        ([b'{"type":"maltrail", "pad":"' + b"x" * (MAX_META_HEADER - 29) + b'"}'], None),
        # Not a meta header.
        ([b'{"type":"maltrail"'], [Reason.META_HEADER]),
        ([b'{"type":}'], [Reason.META_HEADER]),
        ([b'{"type":"maltrail"}}'], [Reason.META_HEADER]),
        ([b'{"type":"\xff"}'], [Reason.META_HEADER]),
        ([b'["maltrail"]'], [Reason.META_HEADER]),
        ([b'"maltrail"'], [Reason.META_HEADER]),
        ([b'{"type":"maltrail","n":NaN}'], [Reason.META_HEADER]),
        ([b'{"n":' + b"9" * 50_000 + b"}"], [Reason.META_HEADER]),
        ([b'{"n":' * 12_000 + b"1" + b"}" * 12_000], [Reason.META_HEADER]),
        ([b"[" * 99_000 + b"}"], [Reason.META_HEADER]),
        ([b""], [Reason.META_HEADER]),
        ([b"{}"], [Reason.META_HEADER]),
        ([b'{"type":1}'], [Reason.META_HEADER]),
        ([b'{"type":null}'], [Reason.META_HEADER]),
        ([META, b'{"type":'], [meta, Reason.META_HEADER]),
        ([b"x" * (MAX_META_HEADER + 1)], [Reason.META_HEADER]),
        ([b"x" * MAX_META_HEADER, b"\n", b"x"], [Reason.META_HEADER]),
        # One, of a type that is not accepted.
        ([b'{"type":"unknown"}'], [Reason.META_TYPE]),
        ([b'{"type":""}'], [Reason.META_TYPE]),
        ([b'{"type":"' + b"x" * 90_000 + b'"}'], [Reason.META_TYPE]),
    ],
)
def test_meta_header_arrives_in_fragments_or_is_refused(
    fragments: list[bytes], outcome: list[Any] | None
) -> None:
    packets = [packet(2, fragment) for fragment in fragments] + [packet(254, b"data")]
    found = summary(b"".join(packets))
    if outcome is None:
        outcome = [json.loads(b"".join(fragments))]
    assert found == [2, *outcome, *([] if isinstance(outcome[-1], Reason) else [b"data"])]


def test_meta_header_of_too_many_packets_is_refused() -> None:
    """Each of them has the header parsed again: a sensor must not make a server busy with one."""
    assert summary(packet(2, b'{"a":{}'), packet(2, b"}") * MAX_META_FRAGMENTS) == [2, Reason.META_HEADER]
    slow = [packet(2, META[n : n + 1]) for n in range(len(META))] * (MAX_META_FRAGMENTS // len(META) + 1)
    assert summary(*slow) == [2] + [meta] * (len(slow) // len(META))
    assert summary(packet(2, b"{"), packet(2) * 2 * MAX_META_FRAGMENTS, packet(2, META[1:])) == [2, meta]


def test_data_has_the_name_of_its_type() -> None:
    assert receive([packet(2, META) + packet(254, b"x", time=7)])[2:] == [Data("maltrail", 7, b"x")]
    assert receive([packet(8, b"x", time=7)]) == [Hello(SENSOR, 8), Data("8", 7, b"x")]


def test_sensor_is_authentic_once_a_packet_was() -> None:
    for key, stream in ((KEY, packet(1)), (KEY, packet(2)), (b"other", packet(1))):
        receiver = Receiver(RULES)
        receiver.receive_data(stream)
        receiver.next_event()
        receiver.authenticate(key)
        assert (receiver.sensor, receiver.authentic) == (SENSOR, False)
        with suppress(Refused):
            receiver.next_event()
        assert receiver.authentic == (key == KEY)


def test_nothing_follows_the_hello_before_the_key() -> None:
    receiver = Receiver(RULES)
    assert receiver.sensor is None
    receiver.receive_data(packet(1, b"x")[:HEADER_SIZE])
    assert receiver.next_event() == Hello(SENSOR, 1)
    receiver.receive_data(packet(1, b"x")[HEADER_SIZE:] + packet(1, b"y"))
    assert receiver.next_event() is None and receiver.next_event() is None
    assert receiver.sensor == SENSOR
    assert receiver.buffered == 2 * HEADER_SIZE + 2
    receiver.authenticate(KEY)
    assert receiver.next_event() == Data("1", NOW, b"x")
    assert receiver.next_event() == Data("1", NOW, b"y")
    assert (receiver.next_event(), receiver.buffered) == (None, 0)


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (packet(99), Reason.TYPE),
        (packet(1, key=b"other") + packet(1, b"behind"), Reason.HMAC),
        (packet(2, b'{"type":"unknown"}') + packet(2, META) + packet(254), Reason.META_TYPE),
        (packet(2, b"x" * 100_001) + packet(2, META), Reason.META_HEADER),
    ],
)
def test_refusal_is_final(stream: bytes, reason: Reason) -> None:
    receiver = Receiver(RULES)
    receiver.receive_data(stream)
    receiver.authenticate(KEY)
    for _ in range(3):
        with pytest.raises(Refused) as caught:
            while receiver.next_event() is not None:
                pass
        assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("stream", "sentence"),
    [
        (packet(99), "type 99 is not accepted; 1, 2, 3, 8, 254 are"),
        (packet(1) + packet(8), "type 8 came after type 1"),
        (packet(1) + packet(1, uuid=OTHER), f"the UUID changed to {OTHER} within the connection"),
        (packet(2, b'{"type":"a\\nb"}'), "meta type 'a\\nb' is not accepted; ja3-jl, maltrail are"),
        (oversize(1), "claims 1000001 bytes; 1000000 is the most"),
    ],
)
def test_refusal_says_what_was_wrong_on_one_line(stream: bytes, sentence: str) -> None:
    receiver = Receiver(RULES)
    receiver.receive_data(stream)
    receiver.authenticate(KEY)
    with pytest.raises(Refused) as caught:
        while receiver.next_event() is not None:
            pass
    assert str(caught.value) == sentence


def test_rules_decide_what_is_accepted() -> None:
    only_lines = Rules(frozenset({3}), frozenset())
    assert receive([packet(2, META)], only_lines) == [Reason.TYPE]
    assert receive([packet(3, b"x")], only_lines) == [Hello(SENSOR, 3), Data("3", NOW, b"x")]


payloads = st.binary(max_size=30) | st.sampled_from([META, b'{"type":', b'"maltrail"}', b"\n"])
streams = st.lists(
    st.builds(
        packet,
        st.sampled_from([1, 2, 2, 2, 8, 99, 254, 254]),
        payloads,
        st.sampled_from([SENSOR, SENSOR, SENSOR, OTHER, UUID(int=0)]),
        st.sampled_from([KEY, KEY, KEY, b"other"]),
    )
    | st.binary(max_size=80),
    max_size=6,
).map(b"".join)


@given(streams | st.binary(max_size=300), sizes_of_chunks)
def test_any_bytes_are_events_or_refused(stream: bytes, sizes: list[int]) -> None:
    assert receive([stream]) == receive(bytewise(stream)) == receive(pieces(stream, sizes))


# The sender's end.

MALTRAIL = Sender(Identity(SENSOR, KEY), 254, {"type": "maltrail"}, snaplen=100)
LINES = replace(MALTRAIL, type=3, meta_header=None)
lines_of_text = st.lists(st.binary(max_size=50).map(lambda line: line.replace(b"\n", b"") + b"\n"))


def test_meta_header_opens_in_one_packet() -> None:
    assert MALTRAIL.opening(NOW) == packet(2, META)
    assert replace(MALTRAIL, snaplen=5).opening(NOW) == packet(2, META)
    assert LINES.opening(NOW) == b""


def test_lines_go_out_as_packets_of_the_type() -> None:
    lines = [b"1" * 59 + b"\n", b"2" * 39 + b"\n", b"3\n"]
    assert list(MALTRAIL.packets(lines, NOW)) == [packet(254, lines[0] + lines[1]), packet(254, lines[2])]
    assert list(replace(LINES, version=9).packets([b"x\n"], NOW)) == [packet(3, b"x\n", version=9)]
    assert list(LINES.packets([], NOW)) == []


@given(lines_of_text, st.integers(1, 60))
def test_payloads_hold_the_lines_and_end_where_one_ends(lines: list[bytes], snaplen: int) -> None:
    found = list(pack_lines(lines, snaplen))
    assert b"".join(found) == b"".join(lines)
    assert all(0 < len(payload) <= snaplen for payload in found)
    longest = max(map(len, lines), default=0)
    assert longest > snaplen or all(payload.endswith(b"\n") for payload in found)


def test_payloads_hold_as_many_lines_as_fit() -> None:
    assert list(pack_lines([b"1234\n"] * 5, 10)) == [b"1234\n1234\n", b"1234\n1234\n", b"1234\n"]
    assert list(pack_lines([b"1\n", b"123456\n", b"1\n"], 4)) == [b"1\n", b"1234", b"56\n", b"1\n"]
    assert list(pack_lines([b"1\n", b"123456\n", b"1\n"], 5)) == [b"1\n", b"12345", b"6\n1\n"]
    assert list(pack_lines([b"12345\n"], 3)) == [b"123", b"45\n"]


@given(lines_of_text, st.integers(1, 200), sizes_of_chunks, st.sampled_from([MALTRAIL, LINES]))
def test_server_receives_what_a_sensor_sends(
    lines: list[bytes], snaplen: int, sizes: list[int], sender: Sender
) -> None:
    sender = replace(sender, snaplen=snaplen)
    packets = list(sender.packets(lines, NOW))
    events = receive(pieces(sender.opening(NOW) + b"".join(packets), sizes))
    data = [event for event in events if isinstance(event, Data)]
    assert b"".join(event.payload for event in data) == b"".join(lines)
    assert [type(event) for event in events if event not in data] == (
        [Hello, MetaHeader] if sender.type == 254 else [Hello] if packets else []
    )
