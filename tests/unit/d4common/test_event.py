"""The Maltrail event: its line, its datagram, and what is not one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import astuple, replace
from unicodedata import category

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from d4common import event
from d4common.event import Event, EventError, parse

ZONES = ("UTC", "Europe/Berlin", "Pacific/Apia")

SEEN = Event(
    1795546055,
    552881,
    "vm",
    "10.0.0.5",
    "-",
    "136.161.101.53",
    "-",
    "ICMP",
    "IP",
    "136.161.101.53",
    "sinkhole conficker (malware)",
    "(static)",
)
LINE = (
    '"2026-11-24 18:47:35.552881" vm 10.0.0.5 - 136.161.101.53 - ICMP IP 136.161.101.53 '
    '"sinkhole conficker (malware)" (static)'
)

LINES = """\
10.0.0.6 4000 10.0.0.1 53 UDP DNS (cdn).alspearowa.com "ek router (malicious)" (static)
10.0.0.7 4001 5.181.156.45 443 TCP IPORT 5.181.156.45:443 "netsupport (malware)" (static)
10.0.0.8 4002 93.184.1.1 80 TCP URL shop.test.org(/a?id=1%20or%201) "sql injection (suspicious)" (heuristic)
2a02::5 4003 2400:6180:0:d0::1008:2001 22 TCP IP 2400:6180:0:d0::1008:2001 "mass scanner" "abuse.ch (+other)"
10.0.0.8,10.9.9.9 4002,4003 93.184.1.1,93.184.1.2 80 TCP,UDP UA "say ""hi"" now" x y
""".splitlines()
"""What follows the time and the sensor in lines of every shape."""


def set_zone(name: str) -> None:
    """Makes this process live in a time zone."""
    os.environ["TZ"] = name
    time.tzset()
    event._local.cache_clear()
    event._epoch.cache_clear()


@pytest.fixture(params=["UTC"], autouse=True)
def zone(request: pytest.FixtureRequest) -> Iterator[str]:
    """The time zone of a test, UTC unless it names others."""
    before = os.environ.get("TZ")
    set_zone(request.param)
    yield request.param
    os.environ.pop("TZ")
    if before is not None:
        os.environ["TZ"] = before
    time.tzset()


def test_line_is_what_maltrail_writes() -> None:
    assert SEEN.line() == LINE
    assert SEEN.wire() == f"1795546055 {LINE}\n".encode()


@pytest.mark.parametrize(
    "line",
    [
        LINE,
        *(f'"2026-11-24 18:47:35.553271" vm {rest}' for rest in LINES),
    ],
)
def test_line_of_a_log_is_an_event_and_back(line: str) -> None:
    assert parse(line).line() == line
    assert parse(line + "\r\n") == parse(line)
    assert parse(f"1795546055 {line}") == parse(line)
    assert parse(parse(line).wire().decode()) == parse(line)


@pytest.mark.parametrize(
    ("field", "written"),
    [
        ("plain", "plain"),
        ("", "-"),
        ("-", "-"),
        ("two words", '"two words"'),
        ('a"b', '"a""b"'),
        ('"', '""""'),
        ('""', '""""""'),
        (" ", '" "'),
        ("a\nb", '"a b"'),
        ("a\r\nb", '"a  b"'),
        ("a\tb", '"a b"'),
        ("\x1b[2J\x7f\x9b", '" [2J  "'),
        ("a\u00a0b", "a\u00a0b"),
        ("bücher.example", "bücher.example"),
    ],
)
def test_field_is_quoted_as_maltrail_does(field: str, written: str) -> None:
    line = replace(SEEN, info=field).line()
    assert line == LINE.replace('"sinkhole conficker (malware)"', written)
    assert parse(line).line() == line


def test_epoch_decides_the_second_and_the_text_its_fraction() -> None:
    assert parse(f"17 {LINE}").sec == 17
    assert parse(f"17 {LINE}").usec == 552881


@pytest.mark.parametrize("zone", ZONES, indirect=True)
def test_time_of_a_line_is_local(zone: str) -> None:
    assert SEEN.line().startswith(f'"{time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(SEEN.sec))}.552881" ')
    assert parse(SEEN.line()) == SEEN


@pytest.mark.parametrize("zone", ["Europe/Berlin"], indirect=True)
def test_hour_that_comes_twice_keeps_its_text_and_on_the_wire_its_second(zone: str) -> None:
    for sec in (1792889999, 1792893599, 1792893600):  # 02:59:59 twice on 2026-10-25, and the second after
        seen = replace(SEEN, sec=sec)
        assert parse(seen.line()).line() == seen.line()
        assert parse(seen.wire().decode()) == seen


fields = st.text(max_size=20) | st.text('a" \t\r\n-\x85\u3000', max_size=6)
events = st.builds(Event, st.integers(0, 4102444800), st.integers(0, 999999), *[fields] * 10)


def flat(seen: Event) -> Event:
    """An event as a line can carry it: no empty fields, no control characters."""
    return Event(seen.sec, seen.usec, *(flat_field(text) for text in astuple(seen)[2:]))


def flat_field(text: str) -> str:
    return "".join(" " if category(character) == "Cc" else character for character in text) or "-"


@pytest.mark.parametrize("zone", ZONES, indirect=True)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events)
def test_event_comes_back_from_its_line_and_from_the_wire(zone: str, seen: Event) -> None:
    assert parse(seen.line()).line() == seen.line()
    assert parse(seen.wire().decode()) == flat(seen)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "begins with a quoted time"),
        ("hello", "begins with a quoted time"),
        (f"-1 {LINE}", "begins with a quoted time"),
        (f"123456789012 {LINE}", "begins with a quoted time"),
        (f"1795546055  {LINE}", "eleven fields"),
        (f" {LINE}", "begins with a quoted time"),
        (f"٣ {LINE}", "begins with a quoted time"),
        (f"{LINE} more", "eleven fields"),
        (f"{LINE} ", "eleven fields"),
        (LINE.removesuffix(" (static)"), "eleven fields"),
        (LINE.replace(" vm ", "  vm "), "eleven fields"),
        (LINE.replace("vm", 'v"m'), "eleven fields"),
        (LINE.replace("vm", '"vm'), "eleven fields"),
        (LINE.replace("vm", "v\nm"), "eleven fields"),
        (LINE.replace(".552881", ""), "is not a time"),
        (LINE.replace(".552881", ".55288"), "is not a time"),
        (LINE.replace("2026", "٢٠٢٦"), "is not a time"),
        (LINE.replace("11-24", "02-30"), "is no time of any day"),
        (LINE.replace("18:47", "25:47"), "is no time of any day"),
        (LINE.replace("2026", "0000"), "is no time of any day"),
        (LINE.replace("2026", "0001"), "is before 1970"),
        (LINE.replace("2026", "1950"), "is before 1970"),
        ('"' * 8192, "eleven fields"),
    ],
)
def test_what_is_not_an_event_is_refused_with_what_is_wrong(text: str, complaint: str) -> None:
    with pytest.raises(EventError, match=complaint):
        parse(text)


times = st.from_regex(r'([0-9]{1,11} )?"[0-9]{4}(-[0-9]{2}){2} [0-9:]{8}\.[0-9]{6}"', fullmatch=True)
words = st.sampled_from(["-", '""', '"a b"', "x", "\t", '"', "a\nb", "\ud800"])
rests = st.lists(words, min_size=9, max_size=11)


@given(st.text() | st.builds(lambda time, rest: " ".join([time, *rest]), times, rests))
@example(f"99999999999 {LINE}")
def test_any_text_is_an_event_that_can_be_written_again_or_an_event_error(text: str) -> None:
    try:
        seen = parse(text)
    except EventError:
        return
    assert parse(seen.line()).line() == seen.line()
    assert parse(seen.wire().decode()).line() == seen.wire().decode().partition(" ")[2].rstrip("\n")


@pytest.mark.parametrize(
    ("info", "reference", "severity"),
    [
        ("anything", "(custom)", "high"),
        ("mass scanner", "(remote custom)", "high"),
        ("potential malware site", "(static)", "medium"),
        ("bad", "malwaredomainlist.com", "high"),
        ("malware distribution", "abuse.ch", "medium"),
        ("mass scanner (malware)", "(static)", "low"),
        ("conficker (malware)", "(static)", "high"),
        ("apt28 (adversary)", "(static)", "high"),
        ("ransomware", "abuse.ch", "high"),
        ("bad reputation", "x", "low"),
        ("known attacker", "x", "low"),
        ("spammer", "x", "low"),
        ("compromised host", "x", "low"),
        ("crawler", "x", "low"),
        ("port scanning", "(heuristic)", "low"),
        ("malware attacker", "x", "high"),
        ("user agent (suspicious)", "(heuristic)", "medium"),
        ("", "", "medium"),
    ],
)
def test_severity_is_that_of_maltrails_page(info: str, reference: str, severity: str) -> None:
    assert replace(SEEN, info=info, reference=reference).severity == severity
