"""Capture files as packets, and events as they are printed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import frames
import pytest
from sensing import SECOND, events, trails_of

from d4sensor import replay
from d4sensor.capture import CaptureError
from d4sensor.engine import Engine

SYNS = [(float(SECOND), frames.syn("10.0.0.1", n, "203.0.113.5", 443)) for n in range(1, 9)]


@pytest.fixture
def engine() -> Engine:
    """An engine that has seen nothing."""
    return Engine(trails_of({"203.0.113.5": "bad"}), "sensor")


def test_what_was_held_back_comes_behind_the_last_file(tmp_path: Path, engine: Engine) -> None:
    frames.write_pcap(tmp_path / "a.pcap", SYNS)
    found = replay.events(engine, replay.batches([str(tmp_path / "a.pcap")] * 2), wallclock=False)
    told = [event.reference for batch in found for event in batch]
    assert told == ["(static)"] * 3 + ["(static) (+5 sightings)"]


def test_what_was_held_back_comes_before_the_error(tmp_path: Path, engine: Engine) -> None:
    frames.write_pcap(tmp_path / "a.pcap", SYNS)
    found = replay.events(engine, replay.batches([str(tmp_path / "a.pcap"), "/nonexistent"]), wallclock=False)
    assert len(next(found)) == 3
    assert [event.reference for event in next(found)] == ["(static) (+5 sightings)"]
    with pytest.raises(CaptureError, match="/nonexistent"):
        next(found)


def test_events_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = events({"203.0.113.5": "x (malware)"}, SYNS[0][1])
    replay.show([found], as_json=True)
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {
        "sec": SECOND,
        "usec": 0,
        "sensor": "sensor",
        "src_ip": "10.0.0.1",
        "src_port": "1",
        "dst_ip": "203.0.113.5",
        "dst_port": "443",
        "proto": "TCP",
        "type": "IP",
        "trail": "203.0.113.5",
        "info": "x (malware)",
        "reference": "(static)",
        "severity": "high",
    }


def test_progress_is_for_terminals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frames.write_pcap(tmp_path / "a.pcap", SYNS)
    assert len(list(replay.watched(replay.batches([str(tmp_path / "a.pcap")])))) == 1
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    list(replay.watched(replay.batches([str(tmp_path / "a.pcap")])))
    assert capsys.readouterr().err == "\r8 packets\r8 packets\n"
