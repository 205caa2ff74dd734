"""What is believed of a datagram, and what is not."""

from __future__ import annotations

import pytest
from collecting import an_event
from hypothesis import example, given
from hypothesis import strategies as st

from d4common import event
from maltrailcollector.check import Reason, Refused, check

NOW = 1795546055
LINE = (
    '"2026-11-24 18:47:35.552881" vm 10.0.0.5 - 136.161.101.53 - ICMP IP 136.161.101.53 '
    '"sinkhole conficker (malware)" (static)'
)
REAL = [
    LINE,
    '"2026-11-24 18:47:35.553271" vm 10.0.0.6 4000 10.0.0.1 53 UDP DNS (cdn).alspearowa.com '
    '"ek router (malicious)" (static)',
    '"2026-11-24 18:47:35.553717" vm 10.0.0.8 4002 93.184.1.1 80 TCP URL shop.test.org(/a?id=1%20union) '
    '"potential sql injection (suspicious)" (heuristic)',
    '"2026-11-24 18:47:35.553906" vm 2a02:aaaa::5 4003 2400:6180:0:d0::1008:2001 22 TCP IP '
    '2400:6180:0:d0::1008:2001 "mass scanner" "abuse.ch (+blocklist.de,ciarmy)"',
    '"2026-11-24 18:47:35.553906" vm 10.0.0.9,203.0.113.7 4003,4004 10.0.0.1,10.0.0.2 22,23 TCP,UDP IP '
    '10.0.0.9 "mass ""scanner""" -',
    '"2026-11-24 18:47:35.553906" "Büro 2" 10.0.0.9 1 ::1 65535 IPV6-ICMP CERT x\u00a0y "a" b',
]


def take(datagram: str | bytes) -> tuple[int, bytes]:
    data = datagram.encode() if isinstance(datagram, str) else datagram
    return check(data, NOW - 86400, NOW + 86400)


def reason(datagram: str | bytes) -> Reason:
    with pytest.raises(Refused) as refused:
        take(datagram)
    return refused.value.reason


@pytest.mark.parametrize("line", REAL)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_what_sensors_send_is_believed_and_kept_to_the_byte(line: str, end: str) -> None:
    assert take(f"{NOW} {line}{end}") == (NOW, line.encode())


def test_the_epoch_decides_the_time_and_without_it_the_local_time_does() -> None:
    assert take(f"{NOW + 7} {LINE}")[0] == NOW + 7
    seen = an_event(sec=NOW)
    assert take(seen.line()) == (NOW, seen.line().encode())


@pytest.mark.parametrize(
    ("datagram", "expected"),
    [
        (b"", Reason.FIELDS),
        (b"\n", Reason.FIELDS),
        ("1 <script>anything goes in the log</script>", Reason.FIELDS),
        (LINE + " more", Reason.FIELDS),
        (LINE.rpartition(" ")[0], Reason.FIELDS),
        (LINE.replace(" vm", "  vm"), Reason.FIELDS),
        (LINE + "\n\n", Reason.FIELDS),
        (LINE + "\n" + LINE, Reason.FIELDS),
        (LINE.replace("conficker", "a\nb"), Reason.FIELDS),
        (LINE.replace("conficker", "a\0b"), Reason.FIELDS),
        (LINE.replace("vm", "v\x1bm"), Reason.FIELDS),
        (LINE.replace("vm", 'v"m'), Reason.FIELDS),
        (LINE.replace('"sinkhole', 'x"sinkhole'), Reason.FIELDS),
        (LINE.replace(".552881", ""), Reason.FIELDS),
        (LINE.encode() + b"\xff", Reason.ENCODING),
        (LINE.replace("conficker", "x" * 8192), Reason.SIZE),
        ("4102444800 " + LINE, Reason.TIME),
        ("1 " + LINE, Reason.TIME),
        (LINE.replace("2026-11-24", "2026-13-41"), Reason.TIME),
        (LINE.replace("2026-11-24", "9999-11-24"), Reason.TIME),
        (f"{NOW} " + LINE.replace("10.0.0.5", "10.0.0.500"), Reason.ADDRESS),
        (f"{NOW} " + LINE.replace("10.0.0.5", "10.0.0.5,"), Reason.ADDRESS),
        (f"{NOW} " + LINE.replace("10.0.0.5", "10.0.0.5,unknown"), Reason.ADDRESS),
        (f"{NOW} " + LINE.replace("10.0.0.5", "fe80::1%eth0"), Reason.ADDRESS),
        (f"{NOW} " + LINE.replace("10.0.0.5", "host"), Reason.ADDRESS),
        (f"{NOW} " + LINE.replace("10.0.0.5", "-"), Reason.ADDRESS),
        (f"{NOW} " + LINE.replace("10.0.0.5 -", "10.0.0.5 65536"), Reason.PORT),
        (f"{NOW} " + LINE.replace("10.0.0.5 -", "10.0.0.5 80,"), Reason.PORT),
        (f"{NOW} " + LINE.replace("10.0.0.5 -", "10.0.0.5 http"), Reason.PORT),
        (f"{NOW} " + LINE.replace("ICMP", "<b>"), Reason.PROTOCOL),
        (f"{NOW} " + LINE.replace("ICMP IP", "ICMP XSS"), Reason.TYPE),
    ],
)
def test_what_is_refused_and_why(datagram: str | bytes, expected: Reason) -> None:
    assert reason(datagram) == expected


def test_the_largest_datagram_is_believed_and_one_byte_more_is_not() -> None:
    room = event.MAX_LINE - len(f"{NOW} {LINE}")
    whole = f"{NOW} " + LINE.replace("conficker", "conficker" + "x" * room)
    assert len(whole) == event.MAX_LINE
    assert take(whole)[0] == NOW
    assert reason(whole + "\n") == Reason.SIZE


texts = st.text(st.characters(blacklist_categories=["Cs"]), max_size=40)


@given(texts, texts, texts, texts)
@example("a\u2028b", "a\u0085b", '"', "<img src=x onerror=alert(1)>")
def test_whatever_a_sensor_of_ours_sends_is_believed_and_reads_the_same(
    sensor: str, trail: str, info: str, reference: str
) -> None:
    seen = an_event(sec=NOW, sensor=sensor, trail=trail, info=info, reference=reference)
    sec, line = take(seen.wire())
    assert (sec, line.decode()) == (NOW, seen.line())
    assert event.parse(f"{sec} {line.decode()}").line() == seen.line()


@given(st.binary(max_size=300))
@example(LINE.encode()[:-1] + b"\x80")
def test_any_bytes_are_believed_or_refused(data: bytes) -> None:
    try:
        take(data)
    except Refused as refused:
        assert refused.reason in Reason


@given(st.integers(0, len(LINE) - 1), st.binary(max_size=8), st.integers(0, 8))
def test_a_damaged_event_is_refused_or_is_an_event_still(place: int, new: bytes, gone: int) -> None:
    line = LINE.encode()
    damaged = line[:place] + new + line[place + gone :]
    try:
        sec, line = take(b"%d %b" % (NOW, damaged))
    except Refused:
        return
    assert line == damaged.removesuffix(b"\n").removesuffix(b"\r")
    assert event.parse(f"{sec} {line.decode()}").sec == NOW
