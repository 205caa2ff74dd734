"""Names and fingerprints of QUIC clients."""

from __future__ import annotations

from itertools import permutations

import frames
import pytest
from sensing import batch, told, trails_of

from d4sensor import tls
from d4sensor.engine import Engine
from d4sensor.judges import quic as judge
from d4sensor.judges.quic import MAX_BYTES, MAX_WAITING, QuicJudge
from d4sensor.quic import V1, V2
from d4sensor.sieve import sieve

CLIENT, SERVER = "10.0.0.1", "192.0.2.44"
HELLO = frames.hello_message(
    extensions=[frames.server_name("cdn.evil.tld"), (43, b"\2\3\4"), (51, bytes(1500))]
)


def datagrams(version: int = V1, connection: bytes = b"\xd4" * 8) -> list[bytes]:
    """A ClientHello in two Initial packets, the pieces of the first not in order."""
    first = frames.crypto(600, HELLO[600:1000]) + frames.crypto(0, HELLO[:600])
    contents = (first, frames.crypto(1000, HELLO[1000:]))
    return [frames.quic_initial(each, version, connection, n) for n, each in enumerate(contents)]


def sent(*data: bytes, client: str = CLIENT, server: str = SERVER, port: int = 443) -> list[bytes]:
    """What a client says, a datagram each."""
    return [frames.udp(client, 4000, server, port, each) for each in data]


@pytest.mark.parametrize("version", [V1, V2])
@pytest.mark.parametrize(("client", "server"), [(CLIENT, SERVER), ("2001:db8::1", "2001:db8::2")])
def test_name_that_is_asked_for(version: int, client: str, server: str) -> None:
    packets = sent(*datagrams(version), client=client, server=server, port=8443)
    for order in permutations(packets):
        assert told({"evil.tld": "bad"}, *order) == [f"{client} 4000 {server} 8443 UDP DNS (cdn).evil.tld"]


def test_fingerprint_of_a_client() -> None:
    ja4 = tls.ja4(tls.hello(HELLO), "q")
    assert told({ja4: "bad"}, *sent(*datagrams())) == [f"{CLIENT} 4000 {SERVER} 443 UDP JA4 {ja4}"]
    assert told({tls.ja4(tls.hello(HELLO), "t"): "bad"}, *sent(*datagrams())) == []


def test_connections_are_kept_apart_and_judged_once() -> None:
    engine = Engine(trails_of({"evil.tld": "bad"}), "sensor")
    one, two = datagrams(), datagrams(connection=b"\xd5" * 8)
    for packets in (sent(one[0], two[0]), sent(two[1]), sent(one[1]), sent(*one, *two)):
        engine.judge(batch(*packets))
    assert (engine.counts["quic_hellos"], engine.counts["quic_opaque"]) == (2, 0)


def test_what_no_client_begins_with() -> None:
    engine = Engine(trails_of({"evil.tld": "bad"}), "sensor")
    whole, _ = datagrams()
    (short,) = datagrams(connection=b"\xd4" * 7)[:1]
    others = [whole[:1199], b"\x40" + whole[1:], b"\xe0" + whole[1:], whole[:4] + b"\2" + whole[5:], short]
    engine.judge(batch(*sent(*others)))
    assert (engine.counts["quic_hellos"], engine.counts["quic_opaque"]) == (0, 0)


def test_broken_packet_does_not_hide_the_real_one() -> None:
    engine = Engine(trails_of({"evil.tld": "bad"}), "sensor")
    first, second = datagrams()
    broken = first[:900] + b"?" + first[901:]
    assert len(engine.judge(batch(*sent(broken, first, broken, second)))) == 1
    assert engine.counts["quic_opaque"] == 2


def test_handshakes_that_are_none() -> None:
    engine = Engine(trails_of({"evil.tld": "bad"}), "sensor")
    contents = [
        frames.crypto(0, b"\2\0\0\1x"),
        frames.crypto(0, frames.handshake_message(1, b"no hello")),
        b"".join(frames.crypto(2 * n, b"x") for n in range(judge.MAX_PIECES + 1))[:1100],
    ]
    packets = [frames.quic_initial(each, connection=bytes((n,)) * 8) for n, each in enumerate(contents)]
    engine.judge(batch(*sent(*packets)))
    assert engine.counts["quic_opaque"] >= 2
    assert engine.counts["quic_hellos"] == 0


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "MAX_DONE", 100)
    engine = QuicJudge(trails_of({"evil.tld": "bad"}))
    counts = Engine(trails_of({}), "sensor").counts
    whole = frames.hello_message()
    for n in range(2 * MAX_WAITING):
        connection = n.to_bytes(8, "big")
        part = frames.quic_initial(frames.crypto(0, HELLO[:9]), connection=connection)
        done = frames.quic_initial(frames.crypto(0, whole), connection=connection[::-1])
        list(engine.judge(sieve(batch(*sent(part, done)), counts), counts))
    assert len(engine._waiting) == MAX_WAITING
    assert len(engine._done) <= 100


def test_bytes_of_one_connection_are_bounded() -> None:
    engine = QuicJudge(trails_of({"evil.tld": "bad"}))
    counts = Engine(trails_of({}), "sensor").counts
    head = b"\1\0\xff\xff"
    for n in range(2 * MAX_BYTES // 1000):
        data = frames.quic_initial(frames.crypto(1000 * n, (head + bytes(1000))[:1000]), number=n)
        list(engine.judge(sieve(batch(*sent(data)), counts), counts))
        assert sum(len(piece.data) for pieces in engine._waiting.values() for piece in pieces) <= MAX_BYTES
    assert counts["quic_opaque"] == 1
