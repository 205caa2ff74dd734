"""Logging: where it goes, and how a message that repeats is held back."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from d4common import journal
from d4common.journal import Repeats

PROGRAM = """
import logging, sys
from d4common import journal
journal.start("d4-test")
logging.getLogger("d4common.x").warning("hello %s", "world", extra={"D4_REASON": "size"})
logging.getLogger().debug("not this")
print(type(logging.getLogger().handlers[0]).__name__)
"""


def log(journal_stream: str | None, tmp_path: Path, program: str = PROGRAM) -> tuple[str, str]:
    """What a process that logs writes, to standard output and standard error."""
    environment = {**os.environ, "PYTHONPATH": str(Path(journal.__file__).parents[1])}
    environment.pop("JOURNAL_STREAM", None)
    errors = tmp_path / "stderr"
    with errors.open("w") as stderr:
        if journal_stream is not None:
            stat = os.fstat(stderr.fileno())
            environment["JOURNAL_STREAM"] = journal_stream.format(device=stat.st_dev, inode=stat.st_ino)
        run = subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=stderr,
            check=True,
        )
    return run.stdout.decode(), errors.read_text()


@pytest.mark.parametrize("stream", [None, "", "1", "1:x", "{device}:1", "0:{inode}"])
def test_log_is_plain_text_on_standard_error_without_the_journal(stream: str | None, tmp_path: Path) -> None:
    assert log(stream, tmp_path) == ("StreamHandler\n", "d4-test: WARNING: hello world\n")


def test_log_goes_to_the_journal_where_standard_error_does(tmp_path: Path) -> None:
    assert log("{device}:{inode}", tmp_path)[0] == "JournalHandler\n"


def test_what_is_for_the_journal_alone_is_not_shown_by_a_command(tmp_path: Path) -> None:
    kept = """
trail = logging.getLogger("d4common.trail")
trail.warning("shown")
journal.keep(trail, "d4-test")
trail.warning("in the journal")
"""
    shown = "d4-test: WARNING: hello world\nd4-test: WARNING: shown\n"
    assert log(None, tmp_path, PROGRAM + kept)[1] == shown


class Clock:
    """A time that the test sets."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(journal, "time", clock)
    return clock


def test_repeats_are_held_back_for_a_minute_and_counted(clock: Clock) -> None:
    repeats = Repeats()
    assert repeats.held_back("a") == 0
    assert [repeats.held_back("a"), repeats.held_back("a"), repeats.held_back("b")] == [None, None, 0]
    clock.now += 59.9
    assert repeats.held_back("a") is None
    clock.now += 0.1
    assert [repeats.held_back("a"), repeats.held_back("a"), repeats.held_back("b")] == [3, None, 0]
    clock.now += 60
    assert repeats.held_back("a") == 1


def test_repeats_remember_no_more_than_they_may(clock: Clock) -> None:
    repeats = Repeats(most=2)
    assert [repeats.held_back(thing) for thing in "abcb"] == [0, 0, 0, None]
    assert repeats.held_back("a") == 0
    assert len(repeats._seen) == 2
