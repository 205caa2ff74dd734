"""The heads of HTTP requests and responses."""

from __future__ import annotations

import frames
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4sensor.http import HttpError, Request, Response, field, parse, parse_response

WHOLE = frames.request("Shop.TLD", "/A/b?C=d", "POST", b"user=Me")
FIELDS = b"\r\nHost: Shop.TLD\r\nUser-Agent: Mozilla/5.0\r\nContent-Length: 7\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Type: text/html\r\n\r\n<title>y</title>"


def test_request() -> None:
    assert parse(WHOLE) == Request("POST", "/a/b?c=d", "shop.tld", b"user=Me", FIELDS, whole=True)


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


@pytest.mark.parametrize(
    ("rest", "value"),
    [
        (b"User-Agent: sqlmap/1.5\r\n\r\n", "sqlmap/1.5"),
        (b"user-agent:\t sqlmap/1.5 \t\r\n\r\n", "sqlmap/1.5"),
        (b"A: b\r\nUSER-AGENT:x y\r\nUser-Agent: z\r\n\r\n", "x y"),
        (b"User-Agent: f\xfcr\r\n\r\n", "für"),
        (b"User-Agent:\r\n\r\n", ""),
        (b"X-User-Agent: x\r\n\r\n", ""),
        (b"User-Agent: sqlm", ""),
        (b"\r\nUser-Agent: in the body\r\n", ""),
    ],
)
def test_field(rest: bytes, value: str) -> None:
    assert field(parse(b"GET / HTTP/1.1\r\n" + rest).fields, "user-agent") == value


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
            assert request.whole == (b"\r\n\r\n" in WHOLE[:size])
            assert field(request.fields, "user-agent") in ("", "Mozilla/5.0")


def test_response() -> None:
    fields = b"\r\nServer: x\r\nContent-Type: text/html\r\n"
    assert parse_response(ANSWER) == Response(ANSWER, fields, b"<title>y</title>")
    assert parse_response(b"HTTP/1.0 404\r\nServer: x").fields == b"\r\nServer: x"


@pytest.mark.parametrize(
    "segment", [b"", b"HTTP/1.1 200 OK", b"HTTP/1.1 OK\r\n", b"HTTP 200\r\n", b"GET / HTTP/1.1\r\n", WHOLE]
)
def test_what_is_no_response(segment: bytes) -> None:
    with pytest.raises(HttpError):
        parse_response(segment)


@given(st.binary(max_size=300) | st.binary(max_size=60).map(lambda rest: b"GET / HTTP/1.1\r\n" + rest))
def test_any_bytes_are_a_request_or_an_error(segment: bytes) -> None:
    try:
        request = parse(segment)
    except HttpError:
        return
    assert request.method and request.target
    assert all("!" <= char <= "~" for char in request.target + request.host)


@given(st.binary(max_size=60).map(lambda rest: b"HTTP/1.1 200 OK\r\n" + rest) | st.binary(max_size=99))
def test_any_bytes_are_a_response_or_an_error(segment: bytes) -> None:
    try:
        response = parse_response(segment)
    except HttpError:
        return
    assert segment.endswith(response.body)
    assert response.fields in segment
