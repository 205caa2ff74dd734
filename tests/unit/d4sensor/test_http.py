"""The head of an HTTP request."""

from __future__ import annotations

import frames
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4sensor.http import HttpError, Request, parse

WHOLE = frames.request("Shop.TLD", "/A/b?C=d", "POST", b"user=Me")


def test_request() -> None:
    assert parse(WHOLE) == Request("POST", "/a/b?c=d", "shop.tld", b"user=Me")


@pytest.mark.parametrize(
    "header", [b"Host: a.tld", b"HOST:a.tld", b"host:\t a.tld  ", b"X-Y: z\r\nhOsT: A.TLD"]
)
def test_header_name_in_any_case(header: bytes) -> None:
    assert parse(b"GET / HTTP/1.1\r\n" + header + b"\r\n\r\n").host == "a.tld"


@pytest.mark.parametrize(
    "rest",
    [
        b"",
        b"\r\n",
        b"X-Host: a.tld\r\n\r\n",
        b"\r\nHost: a.tld\r\n",
        b"Host: a.t",
        b"Host:\r\n\r\n",
        b"Host: a b\r\n",
    ],
)
def test_no_host(rest: bytes) -> None:
    assert parse(b"GET / HTTP/1.0\r\n" + rest).host == ""


def test_target_that_is_no_ascii() -> None:
    assert parse("GET /Ä택 HTTP/1.1\r\n".encode()).target == "/%c3%84%ed%83%9d"
    assert parse(b"GET /%C3%84\xff\xfe HTTP/1.1\r\n").target == "/%c3%84%ff%fe"


@pytest.mark.parametrize(
    "segment",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"GET /\r\n",
        b"GET / a HTTP/1.1\r\n",
        b"GET  / HTTP/1.1\r\n",
        b"GET / HTTP/1.1",
        b"GET / HTTP/1.1\n",
        b"GET / SIP/2.0\r\n",
        b"EHLO mail.tld HTTP\r\n",
        b"get / HTTP/1.1\r\n",
        b"GET /\x1b[2J HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00",
    ],
)
def test_what_is_no_request(segment: bytes) -> None:
    with pytest.raises(HttpError):
        parse(segment)


def test_cut_at_every_byte() -> None:
    line = WHOLE.index(b"\r\n") + 2
    for size in range(len(WHOLE)):
        if size < line:
            with pytest.raises(HttpError):
                parse(WHOLE[:size])
        else:
            request = parse(WHOLE[:size])
            assert request.target == "/a/b?c=d"
            assert WHOLE[:size].endswith(request.body)
            assert request.host in ("", "shop.tld")


@given(st.binary(max_size=300) | st.binary(max_size=60).map(lambda rest: b"GET / HTTP/1.1\r\n" + rest))
def test_any_bytes_are_a_request_or_an_error(segment: bytes) -> None:
    try:
        request = parse(segment)
    except HttpError:
        return
    assert request.method and request.target
    assert all("!" <= char <= "~" for char in request.target + request.host)
