"""What a sensor sends in plain D4, and that the server's end takes it."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from chunks import pieces, sizes_of_chunks
from hypothesis import given
from hypothesis import strategies as st

from d4common.packet import encode
from d4common.sender import Identity, Sender, pack_lines
from d4common.session import Data, Event, MetaHeader, Receiver, Rules

KEY = b"a key"
SENSOR = UUID("ff7ba400-e76c-4053-982d-feec42bdef38")
RULES = Rules(frozenset({2, 3, 254}), frozenset({"maltrail"}))
NOW = 1795544850
MALTRAIL = Sender(Identity(SENSOR, KEY), 254, {"type": "maltrail"})
LINES = Sender(Identity(SENSOR, KEY), 3)

lines_of_text = st.lists(st.binary(max_size=50).map(lambda line: line.replace(b"\n", b"") + b"\n"))


def test_meta_header_opens_in_one_packet() -> None:
    assert MALTRAIL.opening(NOW) == encode(KEY, SENSOR.bytes, 2, b'{"type":"maltrail"}', NOW)
    assert LINES.opening(NOW) == b""


def test_payloads_go_out_as_packets_of_the_type_and_of_their_time() -> None:
    assert MALTRAIL.packet(b"x\n", NOW) == encode(KEY, SENSOR.bytes, 254, b"x\n", NOW)
    other = replace(LINES, version=9)
    assert other.packet(b"x\n", 1) == encode(KEY, SENSOR.bytes, 3, b"x\n", 1, version=9)


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
    payloads = list(pack_lines(lines, snaplen))
    sent = sender.opening(NOW) + b"".join(sender.packet(payload, NOW) for payload in payloads)
    events: list[Event] = []
    receiver = Receiver(RULES)
    receiver.authenticate(KEY)
    for chunk in pieces(sent, sizes):
        receiver.receive_data(chunk)
        while (event := receiver.next_event()) is not None:
            events.append(event)
    kind = "maltrail" if sender.type == 254 else "3"
    assert [e for e in events if isinstance(e, Data)] == [Data(kind, NOW, each) for each in payloads]
    assert sum(isinstance(e, MetaHeader) for e in events) == (sender.type == 254)
