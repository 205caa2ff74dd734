"""The heads of flows, in segments as they come."""

from __future__ import annotations

import random
from collections import Counter
from itertools import permutations

import frames
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sensing import SECOND, batch, told, trails_of

from d4sensor import flow as flows
from d4sensor import heads
from d4sensor.engine import Engine
from d4sensor.flow import Flow
from d4sensor.heads import MAX_BYTES, MAX_FLOWS, MAX_PIECES, SECONDS, Heads
from d4sensor.sieve import Traffic, sieve

CLIENT, SERVER = "10.0.0.1", "192.0.2.80"
REQUEST = frames.request("a.tld", "/gate.php")
POST = frames.request("a.tld", "/gate.php", "POST", b"x=1&y=2")
HELLO = frames.hello_message(extensions=[frames.server_name("a.tld"), (21, bytes(3000))])


class Watch:
    """Batches through one and the same Heads."""

    def __init__(self) -> None:
        self.heads = Heads()
        self.counts: Counter[str] = Counter()

    def add(self, *packets: bytes, sec: int = SECOND) -> Traffic:
        """The traffic of a batch, with its heads."""
        return self.heads.add(sieve(batch(*packets, sec=sec), self.counts), self.counts)

    def requests(self, *packets: bytes, sec: int = SECOND) -> list[bytes]:
        """The requests of a batch, and those that it leaves unfinished."""
        traffic = self.add(*packets, sec=sec)
        return [head.data for head in (*traffic.requests, *traffic.unfinished)]

    def handshakes(self, *packets: bytes) -> list[bytes]:
        """The handshake messages of a batch."""
        return [head.data for head in self.add(*packets).handshakes]


def segment(data: bytes, at: int, end: int, port: int = 4000, client: str = CLIENT) -> bytes:
    """The bytes of what a client says between two offsets, as a segment."""
    server = SERVER if ":" not in client else "2001:db8::80"
    return frames.tcp(client, port, server, 80, data[at:end], seq=(0xFFFFFFF0 + at) % 2**32)


def segments(data: bytes, *cuts: int, port: int = 4000, client: str = CLIENT) -> list[bytes]:
    """What a client says, in segments that end at these offsets; the sequence numbers begin anew within."""
    edges = [0, *cuts, len(data)]
    return [segment(data, *edge, port, client) for edge in zip(edges, edges[1:], strict=False)]


def test_head_in_one_segment() -> None:
    found = Watch().add(frames.ping(CLIENT, SERVER), *segments(REQUEST))
    (head,) = found.requests
    assert (head.row, head.packet, head.data) == (1, 1, REQUEST)
    assert flows.read(*head.headers) == Flow(6, CLIENT, 4000, SERVER, 80)


@pytest.mark.parametrize("client", [CLIENT, "2001:db8::1"])
@pytest.mark.parametrize("cut", [4, 5, 10, 20, 34, 60])
def test_request_in_two_segments(cut: int, client: str) -> None:
    together, apart = Watch(), Watch()
    first, second = segments(REQUEST, cut, client=client)
    assert together.requests(first, second) == [REQUEST]
    assert apart.requests(first) == []
    (head,) = apart.add(frames.ping(CLIENT, SERVER), second).requests
    assert (head.row, head.packet, head.data) == (1, 1, REQUEST)
    assert flows.read(*head.headers).src_ip == client
    assert apart.requests(second) == []
    assert "heads_given_up" not in apart.counts


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_segments_in_any_order(order: tuple[int, ...]) -> None:
    parts = segments(REQUEST, 10, 30, 50)
    packets = [parts[n] for n in order]
    assert Watch().requests(*packets) == [REQUEST]
    watch = Watch()
    assert watch.requests(*packets[:2]) + watch.requests(*packets[2:]) == [REQUEST]


def test_segments_that_come_twice_or_overlap() -> None:
    first, second = segments(REQUEST, 30)
    assert Watch().requests(first, first, second) == [REQUEST]
    overlapping = [segment(REQUEST, 0, 30), segment(REQUEST, 20, 50), segment(REQUEST, 45, len(REQUEST))]
    assert Watch().requests(*overlapping) == [REQUEST]
    # What came first stays, as most hosts have it.
    other = segment(b"?" * 40 + REQUEST[40:], 20, len(REQUEST))
    assert Watch().requests(segment(REQUEST, 0, 40), other) == [REQUEST]
    assert Watch().requests(other, segment(REQUEST, 0, 40)) == [REQUEST]


def test_flows_are_kept_apart() -> None:
    one, two = segments(REQUEST, 30), segments(POST, 30, port=4001)
    same_ports = segments(POST, 30, client="10.0.0.2")
    assert Watch().requests(one[0], two[0], same_ports[0], two[1], same_ports[1]) == [POST, POST]


def test_body_is_waited_for() -> None:
    body = POST.index(b"x=1")
    first, second = segments(POST, body)
    assert Watch().requests(first, second) == [POST]
    watch = Watch()
    assert watch.requests(first) == []
    assert watch.requests(second) == [POST]
    long = frames.request("a.tld", "/", "POST", bytes(5000))
    first, second, _ = segments(long, 600, 1200)
    watch = Watch()
    assert watch.requests(first) == []
    assert watch.requests(second) == [long[:1200]]


def test_requests_in_a_row() -> None:
    both = REQUEST + POST + REQUEST
    assert Watch().requests(*segments(both)) == [REQUEST, POST, REQUEST]
    assert Watch().requests(*segments(both, len(REQUEST) + 20)) == [REQUEST, POST, REQUEST]
    watch = Watch()
    first, second = segments(both, len(both) - 20)
    assert watch.requests(first) == [REQUEST, POST]
    assert watch.requests(second) == [REQUEST]


def test_request_in_several_segments_is_judged() -> None:
    trails, text = {"/gate.php": "bad"}, f"{CLIENT} 4000 {SERVER} 80 TCP URL (a.tld)/gate.php"
    assert told(trails, *segments(REQUEST, 8, 40)) == [text]
    engine = Engine(trails_of({"/x": "bad", "/y": "bad"}), "sensor")
    both = segments(frames.request("a.tld", "/x") + frames.request("b.tld", "/y"), 100)
    found = [event.trail for packet in both for event in engine.judge(batch(packet))]
    assert found == ["(a.tld)/x", "(b.tld)/y"]
    # It is, too, if the rest does not come.
    engine.judge(batch(segments(REQUEST, 50)[0]))
    engine.trails = trails_of(trails | {SERVER: "bad"})
    late = engine.judge(batch(frames.ping("10.0.0.9", "10.0.0.8"), sec=SECOND + SECONDS + 1))
    assert [event.trail for event in late] == [f"{SERVER} (a.tld)", "(a.tld)/gate.php"]
    # What waits outlives the trails.
    engine.judge(batch(segments(REQUEST, 30)[0]))
    engine.trails = trails_of(trails)
    assert [event.trail for event in engine.judge(batch(segments(REQUEST, 30)[1]))] == ["(a.tld)/gate.php"]


def test_next_request_after_one_that_lost_a_segment() -> None:
    watch = Watch()
    first, _, third = segments(REQUEST + REQUEST, 30, len(REQUEST))
    assert watch.requests(first) == []
    assert watch.requests(third) == [REQUEST[:30], REQUEST]
    assert watch.counts["heads_given_up"] == 1


@pytest.mark.parametrize("size", [1, 2, 3, 6, 100, 1400])
def test_hello_in_several_segments(size: int) -> None:
    data = frames.records(HELLO, 1000)
    parts = segments(data, *range(size, len(data), size)) if size > 6 else segments(data, size)
    assert Watch().handshakes(*parts) == [HELLO]
    watch = Watch()
    assert [found for part in parts for found in watch.handshakes(part)] == [HELLO]


def test_hello_with_the_ports_of_a_head_that_waits() -> None:
    hello = frames.hello_message()
    whole = frames.records(hello)
    for waiting in (REQUEST, frames.records(HELLO, 1000)):
        watch = Watch()
        assert watch.handshakes(segment(waiting, 0, 30, client="10.0.0.2")) == []
        assert watch.handshakes(*segments(whole)) == [hello]
        # It comes in the place of a head of its own flow, behind a gap in it.
        watch.add(segment(waiting, 0, 30))
        assert watch.handshakes(segment(bytes(100) + whole, 100, 100 + len(whole))) == [hello]
        assert watch.counts["heads_given_up"] == 1


def test_certificate_in_several_segments() -> None:
    flight = frames.server_hello() + frames.certificate(bytes(2000), b"another")
    parts = segments(frames.records(flight), 1400)
    assert Watch().handshakes(*parts) == [flight[len(frames.server_hello()) :]]


def test_http2_in_the_clear_is_counted() -> None:
    watch = Watch()
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(30)
    assert watch.requests(*segments(preface), *segments(preface, 16, port=5000)) == []
    assert watch.counts["h2c"] == 2


def test_what_begins_like_a_head_and_is_none_does_not_wait() -> None:
    watch = Watch()
    lines = [b"EHLO a.tld\r\n", b"USER no request", b"GET / no\r\n"]
    assert watch.requests(*(segments(line, port=n)[0] for n, line in enumerate(lines))) == lines
    assert watch.handshakes(frames.tcp(CLIENT, 1, SERVER, 25, b"\x16\x03\x01\0\0\1 and more")) == []
    assert watch.counts["tls_malformed"] == 1
    responses = [b"HTTP/1.1 200 OK\r\n\r\n", b"\x17\x03\x03\0\5hello", b"get / HTTP/1.1\r\n\r\n"]
    assert watch.requests(*(frames.tcp(CLIENT, 1, SERVER, 25, line) for line in responses)) == []
    assert not watch.heads._waiting


def test_segment_that_was_not_captured_whole_is_taken_as_it_is() -> None:
    for client in (CLIENT, "2001:db8::1"):
        watch = Watch()
        assert watch.requests(segments(REQUEST, client=client)[0][:-20]) == [REQUEST[:-20]]
        assert watch.counts["heads_given_up"] == 1


def test_heads_wait_a_while() -> None:
    first, second = segments(REQUEST, 30)
    watch = Watch()
    watch.requests(first)
    assert watch.requests(second, sec=SECOND + SECONDS) == [REQUEST]
    watch = Watch()
    watch.requests(first)
    (head,) = watch.add(frames.ping(CLIENT, SERVER), second, sec=SECOND + SECONDS + 1).unfinished
    assert (head.packet, head.data) == (0, REQUEST[:30])
    assert flows.read(*head.headers) == Flow(6, CLIENT, 4000, SERVER, 80)
    assert watch.counts["heads_given_up"] == 1
    # A clock that is set back keeps nothing waiting either.
    watch = Watch()
    watch.requests(first, sec=SECOND)
    assert watch.requests(second, sec=SECOND - 1) == [REQUEST[:30]]


def test_flood_of_beginnings() -> None:
    watch = Watch()
    rng = random.Random(4)
    sources = [f"198.51.{rng.randrange(256)}.{n}" for n in range(200)]
    starts = [segments(REQUEST, 30, port=1024 + n, client=rng.choice(sources))[0] for n in range(5000)]
    found = [head for at in range(0, 5000, 500) for head in watch.requests(*starts[at : at + 500])]
    assert len(watch.heads._waiting) == MAX_FLOWS
    assert found == [REQUEST[:30]] * (5000 - MAX_FLOWS)


def test_flood_of_bytes_in_one_flow() -> None:
    endless = b"GET / HTTP/1.1\r\nX: " + b"x" * 3 * MAX_BYTES
    watch = Watch()
    (request,) = watch.requests(*segments(endless, *range(1000, len(endless), 1000)))
    assert MAX_BYTES <= len(request) <= MAX_BYTES + 1000
    assert not watch.heads._waiting
    watch = Watch()
    gap = segments(endless, 30, 40, *range(41, 41 + 2 * MAX_PIECES))
    assert watch.requests(gap[0], *gap[2:]) == []
    (waiting,) = watch.heads._waiting.values()
    assert len(waiting._later) == MAX_PIECES
    watch = Watch()
    gap = segments(endless, 30, 40, *range(1000, len(endless), 1000))
    assert watch.requests(gap[0], *gap[2:]) == []
    (waiting,) = watch.heads._waiting.values()
    assert sum(map(len, waiting._later.values())) <= MAX_BYTES


def test_flood_of_small_segments_in_one_flow() -> None:
    endless = b"GET /" + b"x" * 1000
    watch = Watch()
    parts = segments(endless, *range(5, 1000))
    found = [request for part in parts for request in watch.requests(part)]
    assert found == [endless[: 5 + MAX_PIECES - 1]]
    assert not watch.heads._waiting


def test_only_what_may_be_a_head_becomes_an_object(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    made = heads._segments

    def counted(traffic: Traffic, rows: heads.Positions) -> object:
        seen.append(len(rows))
        return made(traffic, rows)

    monkeypatch.setattr(heads, "_segments", counted)
    watch = Watch()
    bulk = [frames.tcp(SERVER, 443, CLIENT, 5000 + n, b"\x17\x03\x03" + bytes(90)) for n in range(100)]
    watch.requests(*bulk, *segments(REQUEST))
    assert seen == [1]
    watch = Watch()
    first, second = segments(REQUEST, 30)
    watch.requests(*bulk, first)
    seen.clear()
    watch.requests(*bulk, second)
    assert seen == [1]


@given(st.lists(st.tuples(st.integers(0, 90), st.integers(1, 90)), max_size=12))
def test_any_segments_make_the_request_or_part_of_it(ranges: list[tuple[int, int]]) -> None:
    watch = Watch()
    for at, size in ranges:
        for found in watch.requests(segment(REQUEST, at, at + size)):
            assert found in REQUEST


@given(st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=6))
def test_any_bytes(parts: list[bytes]) -> None:
    watch = Watch()
    starts = (b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\0\x40\1\0", b"")
    for port, start in enumerate(starts, 4000):
        data = start + b"".join(parts)
        edges = [len(start) + sum(map(len, parts[: n + 1])) for n in range(len(parts) - 1)]
        watch.add(*segments(data, *edges, port=port))
