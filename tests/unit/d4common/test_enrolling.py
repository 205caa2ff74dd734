"""The lines of enrolment: what one end encodes the other understands, and nothing else."""

from __future__ import annotations

import hmac
import json
from hashlib import sha256
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4common import enrolling
from d4common.enrolling import (
    Answer,
    Approved,
    Done,
    Enroll,
    Greeting,
    Lines,
    Pending,
    ProtocolError,
    Refused,
    Renew,
    Request,
)

SENSOR = UUID("ff7ba400-e76c-4053-982d-feec42bdef38")
DIGITS = "0123456789abcdef" * 4
PEM = "-----BEGIN X-----\nAAAA\n-----END X-----\n"


@pytest.mark.parametrize(
    "message",
    [
        Enroll(SENSOR, "Zürich 1", DIGITS),
        Enroll(SENSOR, "x", DIGITS, "a token", PEM),
        Renew(SENSOR, DIGITS),
        Renew(SENSOR, DIGITS, PEM),
        Done(),
    ],
)
def test_requests_are_understood(message: Request) -> None:
    line = enrolling.encode(message)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert enrolling.request(line) == message
    with pytest.raises(ProtocolError):
        enrolling.answer(line)


@pytest.mark.parametrize(
    "message",
    [Pending("1a2b-3c4d"), Approved("a key", PEM), Approved("a key", PEM, PEM), Refused("no, since …")],
)
def test_answers_are_understood(message: Answer) -> None:
    assert enrolling.answer(enrolling.encode(message)) == message
    with pytest.raises(ProtocolError):
        enrolling.request(enrolling.encode(message))


def test_the_lines_are_those_of_the_protocol() -> None:
    assert json.loads(enrolling.encode(Greeting(DIGITS))) == {"nonce": DIGITS}
    assert json.loads(enrolling.encode(Enroll(SENSOR, "x", DIGITS, csr=PEM))) == {
        "op": "enroll",
        "uuid": str(SENSOR),
        "name": "x",
        "claim": DIGITS,
        "csr": PEM,
    }
    assert json.loads(enrolling.encode(Approved("k", PEM))) == {"status": "approved", "key": "k", "ca": PEM}
    assert enrolling.encode(Done()) == b'{"op":"done"}\n'
    assert enrolling.greeting(b'{"nonce":"%s","more":[1]}' % DIGITS.encode()) == Greeting(DIGITS)


def test_code_and_proof_are_those_of_the_protocol() -> None:
    digest = sha256(DIGITS.encode()).hexdigest()
    assert enrolling.code(enrolling.digest(DIGITS)) == f"{digest[:4]}-{digest[4:8]}"
    expected = hmac.new(b"key", f"d4-enroll/1 renew {DIGITS}".encode(), sha256).hexdigest()
    assert enrolling.proof(b"key", DIGITS) == expected
    assert enrolling.proves(expected, b"key", DIGITS)
    assert not enrolling.proves(expected, b"another", DIGITS)
    assert not enrolling.proves(expected, b"key", DIGITS[::-1])


def test_nonces_and_claims_are_never_the_same() -> None:
    assert len({enrolling.random() for _ in range(100)}) == 100


@pytest.mark.parametrize("key", ["a\nverify = no", "", " x", "x\x00", "x" * 1001, "\ud800"])
def test_a_key_that_would_be_more_than_a_key_in_a_file_is_refused(key: str) -> None:
    line = json.dumps({"status": "approved", "key": key, "ca": PEM}).encode()
    with pytest.raises(ProtocolError, match="key"):
        enrolling.answer(line)


@pytest.mark.parametrize("pem", ["", "x", "-----BEGIN X-----\n\x1b[2J", "-----BEGIN ü"])
def test_what_is_no_pem_is_refused(pem: str) -> None:
    with pytest.raises(ProtocolError, match="ca must be in PEM form"):
        enrolling.answer(json.dumps({"status": "approved", "key": "k", "ca": pem}).encode())


def test_lines_come_out_whole_however_they_come_in() -> None:
    said = b'{"op":"done"}\n\n{"a":1}\nrest'
    for size in range(1, len(said)):
        lines, found = Lines(), []
        for start in range(0, len(said), size):
            lines.receive(said[start : start + size])
            while (line := lines.next()) is not None:
                found.append(line)
        assert found == [b'{"op":"done"}', b"", b'{"a":1}']


def test_a_line_may_have_64_kib_with_its_end_and_no_more() -> None:
    lines = Lines()
    lines.receive(b"x" * (enrolling.MAX_LINE - 1))
    assert lines.next() is None
    lines.receive(b"\n")
    assert lines.next() == b"x" * (enrolling.MAX_LINE - 1)
    lines.receive(b"x" * enrolling.MAX_LINE)
    with pytest.raises(ProtocolError):
        lines.next()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
NAMES = ("op", "status", "uuid", "name", "claim", "token", "csr", "proof", "code", "key", "ca", "reason")
WORDS = ("enroll", "renew", "done", "pending", "approved", "refused", DIGITS, PEM, str(SENSOR))
MEMBERS = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(WORDS) | JSON)


@given(line=st.binary() | (JSON | MEMBERS).map(lambda value: json.dumps(value).encode()))
def test_any_line_is_understood_or_refused(line: bytes) -> None:
    for understand in (enrolling.greeting, enrolling.request, enrolling.answer):
        try:
            message = understand(line)
        except ProtocolError as error:
            assert str(error).isprintable()
        else:
            assert understand(enrolling.encode(message)) == message


def test_json_that_is_too_deep_is_refused() -> None:
    with pytest.raises(ProtocolError):
        enrolling.request(b"[" * (enrolling.MAX_LINE - 1))
