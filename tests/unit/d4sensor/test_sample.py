"""The capture that the demonstration shows."""

from __future__ import annotations

from pathlib import Path

import frames

from d4sensor import capture, sources
from d4sensor.engine import Engine
from demo import make_sample

TREE = Path(__file__).parents[3]


def test_sample_shows_the_expected_events() -> None:
    found, problems = sources.load([str(TREE / "d4-sensor" / "trails"), str(TREE / "demo" / "trails")])
    assert problems == []
    engine = Engine(found, "sensor")
    source = capture.open_file(str(make_sample.SAMPLE))
    lines = []
    while (batch := source.read()) is not None:
        lines += [event.line().split(" ", 3)[3] for event in engine.judge(batch)]
    assert lines == (TREE / "demo" / "expected.txt").read_text().splitlines()


def test_sample_is_what_its_maker_makes(tmp_path: Path) -> None:
    frames.write_pcap(tmp_path / "sample.pcap", make_sample.sample())
    assert (tmp_path / "sample.pcap").read_bytes() == make_sample.SAMPLE.read_bytes()


def test_sample_is_small() -> None:
    assert make_sample.SAMPLE.stat().st_size < 100_000
