"""What the page is told of a log."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from collecting import an_event
from hypothesis import given
from hypothesis import strategies as st

from maltrailcollector import live
from maltrailcollector.live import LineCounts, latest, message


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "2026-11-24.log"


def told(path: Path, offset: int = 0) -> tuple[dict[str, Any], int]:
    text, end = message(path, offset, LineCounts())
    id, data, blank, rest = text.decode().split("\n")
    assert (id, blank, rest) == (f"id: {end}", "", "")
    document: dict[str, Any] = json.loads(data.removeprefix("data: "))
    return document, end


def test_a_day_without_a_log_has_no_events(log: Path) -> None:
    assert told(log) == ({"total": 0, "events": []}, 0)


def test_events_are_told_with_their_severity_and_what_comes_later_from_the_offset_on(log: Path) -> None:
    first, second = an_event(info="mass scanner", usec=1), an_event(sensor='"a b"\n')
    log.write_text(first.line() + "\n" + second.line()[:20])
    document, end = told(log)
    assert document["total"] == 1 and end == len(first.line()) + 1
    (event,) = document["events"]
    assert event["severity"] == "low"
    assert event["time"] == first.line()[1:27]
    assert event["dst_port"] == "443"
    log.write_text(first.line() + "\n" + second.line() + "\n")
    document, end = told(log, end)
    assert document["total"] == 2 and end == log.stat().st_size
    assert [event["sensor"] for event in document["events"]] == ['"a b" ']


def test_lines_that_are_no_events_are_counted_only(log: Path) -> None:
    log.write_bytes(b"# note\n\xff\xfe\n" + an_event().line().encode() + b"\n")
    document, _ = told(log)
    assert (document["total"], len(document["events"])) == (3, 1)


def test_of_a_large_day_the_newest_are_told(log: Path) -> None:
    line = an_event().line()
    log.write_text((line + "\n") * 10_000)
    document, end = told(log)
    assert document["total"] == 10_000 and end == log.stat().st_size
    assert len(document["events"]) == live.MOST_EVENTS
    long = an_event(trail="x" * 8000).line() + "\n"
    log.write_text(long * 100)
    lines, end = latest(log, 0)
    assert len(lines) == live.MOST_BYTES // len(long) and end == log.stat().st_size


def test_a_log_that_became_shorter_begins_anew(log: Path) -> None:
    log.write_text(an_event().line() + "\n")
    document, end = told(log, 10_000)
    assert len(document["events"]) == 1 and end == log.stat().st_size
    counts = LineCounts()
    assert counts.count(log, end) == 1
    log.write_bytes(b"\n\n")
    assert counts.count(log, 2) == 2


def test_each_byte_is_counted_once(log: Path) -> None:
    counts = LineCounts()
    log.write_bytes(b"a\nb\nc")
    assert counts.count(log, 5) == 2
    log.write_bytes(b"?????\nd\n")
    assert counts.count(log, 8) == 4


def without_feeds(line: bytes) -> bytes:
    return line.replace(b"\n", b"")


@given(st.lists(st.binary(max_size=30).map(without_feeds), max_size=20), st.data())
def test_whatever_the_offset_whole_lines_are_told_once(lines: list[bytes], data: st.DataObject) -> None:
    with tempfile.NamedTemporaryFile() as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr(live, "MOST_BYTES", data.draw(st.integers(40, 200)))
        text = b"".join(line + b"\n" for line in lines)
        file.write(text + without_feeds(data.draw(st.binary(max_size=5))))
        file.flush()
        seen, end = latest(Path(file.name), 0)
        assert end == len(text)
        assert seen == lines[len(lines) - len(seen) :]
        again, same = latest(Path(file.name), end)
        assert (again, same) == ([], end)
        start = data.draw(st.integers(0, len(text)))
        seen, _ = latest(Path(file.name), start)
        assert text[start:].endswith(b"".join(line + b"\n" for line in seen))
