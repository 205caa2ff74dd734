"""The sensor's end of an acknowledged session: what it says, and which answers it believes."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from chunks import pieces, sizes_of_chunks
from hypothesis import given
from hypothesis import strategies as st

from d4common.acknowledged import MAX_ANSWER, AcknowledgedSession, AheadOfSpool, BadAnswer
from d4common.packet import encode
from d4common.sender import Identity, Sender
from d4common.session import Data, Event, Hello, MetaHeader, Receiver, Rules, Session

KEY = b"a key"
SENSOR = UUID("ff7ba400-e76c-4053-982d-feec42bdef38")
SPOOL = UUID("5e8e2b0f-2f6c-4d8e-9a53-3a1f0c8d7b21")
NOW = 1795544850
SENDER = Sender(Identity(SENSOR, KEY), 254, {"type": "maltrail"})
RULES = Rules(frozenset({254}), frozenset({"maltrail"}))


def session(first: int = 5, known: int = 0, sent: int = 3) -> AcknowledgedSession:
    """A session that has sent a few packets of 10 bytes."""
    made = AcknowledgedSession(SENDER, SPOOL, first, known)
    for number in range(first, first + sent):
        made.packet(number, NOW, b"123456789\n")
    return made


def answer(payload: bytes | None = None, key: bytes = KEY, uuid: UUID = SENSOR, **members: Any) -> bytes:
    """A packet of type 2; without ``payload`` a d4-ack, in which ``members`` replace its own."""
    document = {"type": "d4-ack", "spool": str(SPOOL), **members}
    return encode(key, uuid.bytes, 2, json.dumps(document).encode() if payload is None else payload, NOW)


def test_a_server_hears_the_session_the_meta_header_and_numbered_packets() -> None:
    made, events, receiver = session(7, sent=0), list[Event](), Receiver(RULES, acknowledged=True)
    receiver.authenticate(KEY)
    receiver.receive_data(made.opening(NOW) + made.packet(7, 1, b"a\n") + made.packet(8, 2, b"b\n"))
    receiver.receive_data(made.announcement(NOW) + made.packet(9, 3, b"c\n"))
    while (event := receiver.next_event()) is not None:
        events.append(event)
    assert [type(event) for event in events] == [Hello, Session, MetaHeader, Data, Data, Session, Data]
    assert events[3:] == [
        Data("maltrail", 1, b"a\n", 7),
        Data("maltrail", 2, b"b\n", 8),
        Session(SPOOL, 9),
        Data("maltrail", 3, b"c\n", 9),
    ]
    assert made.next == 10


def test_numbers_are_in_a_row() -> None:
    with pytest.raises(ValueError, match="packet 9 comes where 8 is the next"):
        session().packet(9, NOW, b"")


@given(sizes_of_chunks)
def test_answers_make_room_however_they_arrive(sizes: list[int]) -> None:
    made = session()
    assert (made.acknowledged, made.unacknowledged, made.answered) == (4, 30, False)
    for chunk in pieces(answer(seq=0) + answer(seq=5, more="whatever") + answer(seq=6), sizes):
        made.receive_data(chunk)
    assert (made.acknowledged, made.unacknowledged, made.answered) == (6, 10, True)


def test_an_older_answer_takes_nothing_back() -> None:
    made = session()
    made.receive_data(answer(seq=7) + answer(seq=3))
    assert (made.acknowledged, made.unacknowledged) == (7, 0)


def test_what_the_server_has_from_before_is_sent_again_all_the_same() -> None:
    made = session(5, known=8, sent=1)
    made.receive_data(answer(seq=8))
    assert (made.acknowledged, made.unacknowledged, made.next) == (5, 0, 6)
    for number in (6, 7, 8, 9):
        made.packet(number, NOW, b"x\n")
    assert (made.acknowledged, made.unacknowledged) == (8, 2)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (answer(seq=8), "acknowledges packets up to 8, but 7 is the last that was sent"),
        (answer(seq=1 << 64), "acknowledges packets up to 18446744073709551616, but 7"),
        (answer(seq=5, key=b"other"), "not signed with this sensor's key"),
        (answer(seq=5, uuid=UUID(int=1)), f"for another sensor, {UUID(int=1)}"),
        (answer(seq=5, spool=str(UUID(int=2))), f'for another spool, "{UUID(int=2)}"'),
        (answer(seq=5, spool=7), "for another spool, 7"),
        (answer(seq=5, type="d4-session"), 'has "type" "d4-session", not "d4-ack"'),
        (answer(seq=-1), 'has "seq" -1'),
        (answer(seq=True), 'has "seq" true'),
        (answer(seq=5.0), 'has "seq" 5.0'),
        (answer(), 'has "seq" missing'),
        (answer(b"[5]"), r"is no object of JSON: b'\[5\]'"),
        (answer(b"hello"), "is not JSON: b'hello'"),
        (answer(b"\xff"), "is not JSON"),
        (answer(b"[" * 4000), "is not JSON"),
        (answer(b" " * (MAX_ANSWER + 1)), "has 4097 bytes; 4096 are the most"),
        (encode(KEY, SENSOR.bytes, 254, b"x", NOW), "is of type 254, not 2: it does not speak d4-ack/1"),
        (
            b"HTTP/1.1 400 Bad Request\r\n" + b"Server: of something else\r\n" * 3,
            "it does not speak d4-ack/1",
        ),
    ],
)
def test_a_wrong_answer_is_named_and_changes_nothing(data: bytes, complaint: str) -> None:
    made = session()
    with pytest.raises(BadAnswer, match=complaint) as raised:
        made.receive_data(data)
    assert str(raised.value).endswith("nothing was taken out of the spool for it")
    assert isinstance(raised.value, AheadOfSpool) == ("acknowledges packets up to" in complaint)
    assert (made.acknowledged, made.unacknowledged, made.answered) == (4, 30, False)


def test_a_header_is_refused_before_its_payload_has_come() -> None:
    with pytest.raises(BadAnswer, match="the most"):
        session().receive_data(answer(b" " * (MAX_ANSWER + 1))[:62])


answers = st.builds(
    answer,
    st.none() | st.binary(max_size=30),
    st.sampled_from([KEY, KEY, KEY, b"other"]),
    st.sampled_from([SENSOR, SENSOR, SENSOR, uuid4()]),
    seq=st.integers(-1, 9) | st.none(),
)


@given(st.lists(answers | st.binary(max_size=80), max_size=5), sizes_of_chunks)
def test_any_bytes_are_answers_or_refused(data: list[bytes], sizes: list[int]) -> None:
    def heard(chunks: list[bytes]) -> tuple[int, str]:
        made, said = session(), ""
        try:
            for chunk in chunks:
                made.receive_data(chunk)
        except BadAnswer as error:
            said = str(error)
        assert 4 <= made.acknowledged <= 7
        return made.acknowledged, said

    assert heard([b"".join(data)]) == heard(list(pieces(b"".join(data), sizes)))
