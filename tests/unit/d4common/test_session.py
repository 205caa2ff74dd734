"""What a server accepts, in which order: plain D4 and the acknowledged session."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from chunks import bytewise, pieces, sizes_of_chunks
from hypothesis import given
from hypothesis import strategies as st

from d4common.packet import HEADER_SIZE, MAX_PAYLOAD, META_HEADER, Decoder, encode
from d4common.session import (
    MAX_META_FRAGMENTS,
    MAX_META_HEADER,
    MAX_SEQ,
    Data,
    Event,
    Hello,
    MetaHeader,
    Reason,
    Receiver,
    Refused,
    Rules,
    Session,
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


def receive(
    chunks: Iterable[bytes], rules: Rules = RULES, acknowledged: bool = False
) -> list[Event | Reason]:
    """What a server with the sensor's key makes of a stream: its events, and why it refused it, if it did."""
    receiver, found = Receiver(rules, acknowledged), list[Event | Reason]()
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
        # One that belongs to acknowledged sessions.
        (
            [b'{"type":"d4-session","spool":"0e1a3c54-0b9c-4d1e-8c57-c39e3f3b1a11","seq":1}'],
            [Reason.META_TYPE],
        ),
        ([b'{"type":"d4-ack"}'], [Reason.META_TYPE]),
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


def test_reserved_types_stay_so_whatever_the_rules_say() -> None:
    rules = Rules(frozenset({2, 254}), frozenset({"d4-session", "d4-ack"}))
    for type in ("d4-session", "d4-ack"):
        assert receive([packet(2, b'{"type":"%s"}' % type.encode())], rules)[1:] == [Reason.META_TYPE]


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


# The acknowledged session.

SPOOL = UUID("0e1a3c54-0b9c-4d1e-8c57-c39e3f3b1a11")
OTHER_SPOOL = UUID("0e1a3c54-0b9c-4d1e-8c57-c39e3f3b1a12")


def announcement(seq: object = 1, spool: object = SPOOL, **more: object) -> bytes:
    """A d4-session as text."""
    return json.dumps({"type": "d4-session", "spool": str(spool), "seq": seq, **more}).encode()


def session(seq: object = 1, spool: object = SPOOL, **more: object) -> bytes:
    """A d4-session as a packet."""
    return packet(2, announcement(seq, spool, **more))


def numbered(*packets: bytes) -> list[Any]:
    """What a server that acknowledges makes of packets, in any chunks: in short, without the Hello."""
    stream = b"".join(packets)
    found = receive(packets, acknowledged=True)
    assert found == receive([stream], acknowledged=True) == receive(bytewise(stream), acknowledged=True)
    assert found[:1] == [Hello(SENSOR, 2)] or isinstance(found[0], Reason)
    return [_short(event) for event in found if not isinstance(event, Hello)]


def _short(event: Event | Reason) -> Any:
    match event:
        case Session(spool, seq):
            return seq if spool == SPOOL else (spool, seq)
        case Data(type, _, payload, number):
            return number, type, payload
        case MetaHeader(type):
            return type
    return event


@pytest.mark.parametrize(
    ("packets", "outcome"),
    [
        # Numbers go on from seq, whatever the type; packets of type 2 have none.
        (
            [session(7), packet(3, b"a"), packet(3), packet(3, b"b")],
            [7, (7, "3", b"a"), (8, "3", b""), (9, "3", b"b")],
        ),
        (
            [
                session(7),
                packet(2, META),
                packet(254, b"a"),
                session(8),
                packet(254, b"b"),
                session(9),
                session(9),
            ],
            [7, "maltrail", (7, "maltrail", b"a"), 8, (8, "maltrail", b"b"), 9, 9],
        ),
        (
            [session(), session(), packet(2, META), session(), packet(254)],
            [1, 1, "maltrail", 1, (1, "maltrail", b"")],
        ),
        ([session(MAX_SEQ), packet(1, b"x")], [MAX_SEQ, (MAX_SEQ, "1", b"x")]),
        ([session(1, str(SPOOL).upper()), session(1), packet(1, b"x")], [1, 1, (1, "1", b"x")]),
        ([packet(2, b"\n " + announcement() + b" \r\n"), packet(8)], [1, (1, "8", b"")]),
        # A part of a meta header is one, even where it looks like a d4-session.
        (
            [session(), packet(2, b'{"type":"maltrail","x":'), session(), packet(2, b"}"), packet(254)],
            [1, "maltrail", (1, "maltrail", b"")],
        ),
        (
            [session(), packet(2, META[:9]), packet(2, META[9:]), packet(254)],
            [1, "maltrail", (1, "maltrail", b"")],
        ),
        (
            [session(), packet(2), packet(2, META), packet(2, b"\n"), packet(254)],
            [1, "maltrail", (1, "maltrail", b"")],
        ),
        # No d4-session at the beginning.
        ([packet(3, b"x")], [Reason.SESSION]),
        ([packet(254, b"x")], [Reason.SESSION]),
        ([packet(2, META)], [Reason.SESSION]),
        ([packet(2)], [Reason.SESSION]),
        ([packet(2, b"{")], [Reason.SESSION]),
        ([packet(2, announcement()[:20]), packet(2, announcement()[20:])], [Reason.SESSION]),
        ([session(1, type="d4-ack")], [Reason.SESSION]),
        # One that is wrong in itself.
        ([packet(2, b'{"type":"d4-session"}')], [Reason.SESSION]),
        ([session(1, more=1)], [Reason.SESSION]),
        *([[session(seq)], [Reason.SESSION]] for seq in (0, -1, 1.0, "1", True, None, MAX_SEQ + 1, 2**70)),
        *(
            [[session(1, spool)], [Reason.SESSION]]
            for spool in ("", "x", SPOOL.hex, f"{{{SPOOL}}}", UUID(int=0), str(SPOOL).replace("-4d", "-1d"))
        ),
        ([packet(2, announcement().replace(b'"%s"' % str(SPOOL).encode(), b"7"))], [Reason.SESSION]),
        ([packet(2, announcement().replace(b": 1}", b": NaN}"))], [Reason.SESSION]),
        # One that does not go with what came before.
        ([session(1), session(1, OTHER_SPOOL)], [1, Reason.SESSION]),
        ([session(1), session(2)], [1, Reason.SESSION]),
        ([session(5), packet(3, b"x"), session(5)], [5, (5, "3", b"x"), Reason.SESSION]),
        ([session(5), packet(3, b"x"), session(7)], [5, (5, "3", b"x"), Reason.SESSION]),
        # A d4-session in pieces, or among those of a meta header.
        ([session(), packet(2, announcement()[:20]), packet(2, announcement()[20:])], [1, Reason.SESSION]),
        ([session(), packet(2, b'{"type":'), session(), packet(254)], [1, Reason.META_HEADER]),
        # Packets of type 2 that are no d4-session when data has come.
        ([session(), packet(3, b"x"), packet(2, META)], [1, (1, "3", b"x"), Reason.SESSION]),
        ([session(), packet(3, b"x"), packet(2)], [1, (1, "3", b"x"), Reason.SESSION]),
        (
            [session(), packet(2, META), packet(254), packet(2, META)],
            [1, "maltrail", (1, "maltrail", b""), Reason.SESSION],
        ),
        # As in plain D4.
        ([session(), packet(254, b"x")], [1, Reason.NO_META_HEADER]),
        ([session(), packet(2, b"{"), packet(254, b"x")], [1, Reason.META_HEADER]),
        ([session(), packet(2, b'{"type":"novel"}')], [1, Reason.META_TYPE]),
        ([session(), packet(2, b'{"type":"d4-ack"}')], [1, Reason.META_TYPE]),
        ([session(), packet(2, b"{}")], [1, Reason.META_HEADER]),
        ([session(), packet(2, META), packet(3, b"x")], [1, "maltrail", Reason.TYPE_CHANGE]),
        ([session(), packet(2, b"{"), packet(3, b"x")], [1, Reason.TYPE_CHANGE]),
        ([session(), packet(3, b"x"), packet(8, b"y")], [1, (1, "3", b"x"), Reason.TYPE_CHANGE]),
        ([session(), packet(3, b"x"), packet(254, b"y")], [1, (1, "3", b"x"), Reason.TYPE_CHANGE]),
        (
            [session(), packet(2, META), packet(254), packet(3)],
            [1, "maltrail", (1, "maltrail", b""), Reason.TYPE_CHANGE],
        ),
        ([session(), packet(3, b"x", uuid=OTHER)], [1, Reason.UUID_CHANGE]),
        ([session(), packet(99)], [1, Reason.TYPE]),
        ([packet(99)], [Reason.TYPE]),
        ([session(), packet(3, b"x", key=b"other")], [1, Reason.HMAC]),
        ([packet(2, announcement(), key=b"other")], [Reason.HMAC]),
    ],
)
def test_session_has_this_outcome_in_any_chunks(packets: list[bytes], outcome: list[Any]) -> None:
    assert numbered(*packets) == outcome


def test_session_needs_no_type_2_in_the_rules() -> None:
    """The administrator who accepts lines alone need not know how they are acknowledged."""
    only_lines = Rules(frozenset({3}), frozenset())
    found = receive([session(), packet(3, b"x")], only_lines, acknowledged=True)
    assert found[1:] == [Session(SPOOL, 1), Data("3", NOW, b"x", 1)]
    assert receive([packet(8)], only_lines, acknowledged=True) == [Reason.TYPE]


@pytest.mark.parametrize(
    ("acknowledged", "stream", "sentence"),
    [
        (False, session(), "a d4-session needs ALPN d4-ack/1 in the TLS handshake"),
        (True, packet(3), "type 3 came before a type 2 d4-session"),
        (True, packet(2, META), "the first packet is no d4-session"),
        (True, session(1, more=2), "a d4-session must have type, spool and seq, and nothing else"),
        (True, session(0), f"the seq of a d4-session must be a whole number from 1 to {MAX_SEQ}"),
        (True, session(1, "x"), "the spool of a d4-session must be a UUID of version 4"),
        (True, session() + session(1, OTHER_SPOOL), f"a d4-session names spool {OTHER_SPOOL} after {SPOOL}"),
        (True, session(4) + packet(3) + session(4), "a d4-session has seq 4; 5 is next"),
        (True, session() + packet(3) + packet(2), "a packet of type 2 that came after data is no d4-session"),
        (
            True,
            session() + packet(2, announcement()[:9]) + packet(2, announcement()[9:]),
            "a d4-session came in 2 packets; it must be one",
        ),
        (True, session() + packet(254), "type 254 came before a meta header"),
        (
            True,
            session() + packet(2, META) + packet(3),
            "type 3 came after a meta header, which is for type 254",
        ),
        (True, session() + packet(3) + packet(8), "type 8 came after type 3"),
    ],
)
def test_refusal_of_a_session_says_what_was_wrong(acknowledged: bool, stream: bytes, sentence: str) -> None:
    receiver = Receiver(RULES, acknowledged)
    receiver.receive_data(stream)
    receiver.authenticate(KEY)
    with pytest.raises(Refused) as caught:
        while receiver.next_event() is not None:
            pass
    assert str(caught.value) == sentence


def test_answer_is_a_packet_that_names_the_spool() -> None:
    receiver = Receiver(RULES, acknowledged=True)
    receiver.receive_data(session(5))
    receiver.authenticate(KEY)
    while receiver.next_event() is not None:
        pass
    payload = b'{"type":"d4-ack","spool":"0e1a3c54-0b9c-4d1e-8c57-c39e3f3b1a11","seq":4}'
    assert receiver.answer(4, NOW) == packet(META_HEADER, payload)


def test_each_key_is_good_and_answers_have_the_one_that_was_used_last() -> None:
    receiver = Receiver(RULES, acknowledged=True)

    def signed(key: bytes, keys: tuple[bytes, ...], stream: bytes) -> bytes:
        """The key of an answer to a packet that was signed with ``key``."""
        receiver.authenticate(*keys)
        receiver.receive_data(stream)
        while receiver.next_event() is not None:
            pass
        decoder = Decoder()
        decoder.receive_data(receiver.answer(0, NOW))
        answer = decoder.next_packet()
        assert answer is not None and answer.authentic(key)
        return key

    def one(key: bytes) -> bytes:
        return packet(3, b"x", key=key)

    assert signed(b"old", (b"new", b"old"), packet(2, announcement(), key=b"old")) == receiver.key
    assert signed(b"new", (b"new", b"old"), one(b"old") + one(b"new")) == receiver.key
    assert signed(b"old", (b"old", b"new"), one(b"old")) == receiver.key
    assert signed(b"newer", (b"newer",), one(b"newer")) == receiver.key
    with pytest.raises(Refused, match="HMAC"):
        signed(b"old", (b"newer",), one(b"old"))


session_payloads = payloads | st.sampled_from([announcement(), announcement(2), announcement(1, OTHER_SPOOL)])
session_streams = st.lists(
    st.builds(packet, st.sampled_from([2, 2, 2, 3, 3, 254]), session_payloads) | st.just(session()),
    max_size=7,
)


@given(session_streams, sizes_of_chunks)
def test_numbers_are_in_a_row_whatever_comes(packets: list[bytes], sizes: list[int]) -> None:
    stream = session() + b"".join(packets)
    found = receive([stream], acknowledged=True)
    assert found == receive(pieces(stream, sizes), acknowledged=True)
    numbers = [event.number for event in found if isinstance(event, Data)]
    assert numbers == list(range(1, len(numbers) + 1))
