"""SOCKS5 as in RFC 1928 and 1929: what is asked, byte by byte, and what is made of each answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4common.config import Endpoint, Proxy
from d4common.socks import ProxyError, dialogue

PROXY = Proxy(Endpoint("proxy.example", 1080))
KNOWN = Proxy(Endpoint("proxy.example", 1080), "me", "secret")
SERVER = Endpoint("d4.example", 4443)
BOUND = b"\x01\x7f\x00\x00\x01\x00\x50"


def converse(
    answers: bytes, proxy: Proxy = PROXY, destination: Endpoint = SERVER
) -> tuple[list[bytes], bytes]:
    """What is said to a proxy that has these answers, and what is left of them."""
    asking, said = dialogue(proxy, destination), list[bytes]()
    data, size = next(asking)
    while True:
        said += [data] if data else []
        if len(answers) < size:
            return said, b"waits"
        answer, answers = answers[:size], answers[size:]
        try:
            data, size = asking.send(answer)
        except StopIteration:
            return said, answers


def test_proxy_is_given_the_name_and_nothing_behind_its_reply_is_taken() -> None:
    said, left = converse(b"\x05\x00\x05\x00\x00" + BOUND + b"TLS")
    assert said == [b"\x05\x01\x00", b"\x05\x01\x00\x03\x0ad4.example\x11\x5b"]
    assert left == b"TLS"


@pytest.mark.parametrize(
    ("host", "address"),
    [("192.0.2.1", b"\x01\xc0\x00\x02\x01"), ("2001:db8::1", b"\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01")],
)
def test_addresses_go_as_such(host: str, address: bytes) -> None:
    said, _ = converse(b"\x05\x00", destination=Endpoint(host, 80))
    assert said[1] == b"\x05\x01\x00" + address + b"\x00\x50"


def test_user_and_password_are_shown() -> None:
    said, left = converse(b"\x05\x02\x01\x00\x05\x00\x00" + BOUND, KNOWN)
    assert said[:2] == [b"\x05\x01\x02", b"\x01\x02me\x06secret"]
    assert (len(said), left) == (3, b"")


@pytest.mark.parametrize("bound", [BOUND, b"\x04" + bytes(18), b"\x03\x05proxy\x00\x50", b"\x03\x00\x00\x50"])
def test_the_address_in_the_reply_may_be_of_any_kind(bound: bytes) -> None:
    assert converse(b"\x05\x00\x05\x00\x00" + bound + b"x")[1] == b"x"


@pytest.mark.parametrize(
    ("answers", "proxy", "complaint"),
    [
        (b"HTTP/1.1 400", PROXY, "does not speak SOCKS5"),
        (b"\x05\xff", PROXY, "asks for a user name and a password"),
        (b"\x05\xff", KNOWN, "asks for another way to authenticate"),
        (b"\x05\x02\x01\x01", KNOWN, "does not know this user name and password"),
        (b"\x05\x00\x05\x05\x00\x01", PROXY, "connection refused"),
        (b"\x05\x00\x05\x02\x00\x01", PROXY, "its rules do not allow this"),
        (b"\x05\x00\x05\x63\x00\x01", PROXY, "failure 99"),
        (b"\x05\x00\x05\x00\x00\x09", PROXY, "an address of unknown type 9"),
    ],
)
def test_refusals_are_told_in_words(answers: bytes, proxy: Proxy, complaint: str) -> None:
    with pytest.raises(ProxyError, match=f"^proxy proxy.example:1080: .*{complaint}"):
        converse(answers, proxy)


@given(st.binary(max_size=40) | st.binary(max_size=40).map(b"\x05\x00\x05\x00\x00".__add__))
def test_any_answer_is_waited_for_refused_or_the_end(answers: bytes) -> None:
    try:
        converse(answers)
    except ProxyError as error:
        assert "proxy.example:1080" in str(error)
