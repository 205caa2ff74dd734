"""The logs of the days, and disks that are full."""

from __future__ import annotations

import os
import resource
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from maltrailcollector.daylog import DayLog, day_of, days

DAY = "2026-11-24"


@pytest.fixture
def log(tmp_path: Path) -> DayLog:
    return DayLog(tmp_path, most=100)


def test_lines_are_appended_to_the_log_of_their_day(log: DayLog, tmp_path: Path) -> None:
    log.append(DAY, [b"one", b"two"])
    log.append("2026-11-23", [b"other"])
    log.append(DAY, [b"three"])
    assert (tmp_path / "2026-11-24.log").read_bytes() == b"one\ntwo\nthree\n"
    assert (tmp_path / "2026-11-23.log").read_bytes() == b"other\n"
    assert days(tmp_path) == ["2026-11-24", "2026-11-23"]


def test_a_log_is_for_its_owner_and_the_group_only(log: DayLog, tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        log.append(DAY, [b"one"])
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "2026-11-24.log").stat().st_mode) == 0o640


def test_a_log_that_was_moved_away_is_begun_anew(log: DayLog, tmp_path: Path) -> None:
    log.append(DAY, [b"one"])
    (tmp_path / "2026-11-24.log").rename(tmp_path / "moved")
    log.append(DAY, [b"two"])
    assert (tmp_path / "2026-11-24.log").read_bytes() == b"two\n"


def test_a_line_that_a_crash_cut_off_does_not_run_into_the_next(log: DayLog, tmp_path: Path) -> None:
    (tmp_path / "2026-11-24.log").write_bytes(b"whole\ncut o")
    log.append(DAY, [b"one"])
    log.append(DAY, [b"two"])
    assert (tmp_path / "2026-11-24.log").read_bytes() == b"whole\ncut o\none\ntwo\n"


def test_what_cannot_be_written_is_kept_within_bounds_and_written_later(
    log: DayLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    obstacle = tmp_path / "2026-11-24.log"
    obstacle.mkdir()
    log.append(DAY, [b"x" * 49])
    assert log.append(DAY, [b"y" * 49])
    assert not log.append(DAY, [b"lost", b"lost"])
    assert log.lost == 2
    assert "2026-11-24.log cannot be written" in caplog.text
    assert len(caplog.records) == 1
    obstacle.rmdir()
    log.flush()
    assert obstacle.read_bytes() == b"x" * 49 + b"\n" + b"y" * 49 + b"\n"
    log.append(DAY, [b"z"])
    assert obstacle.read_bytes().endswith(b"y\nz\n")


def test_one_day_that_cannot_be_written_does_not_hold_up_another(log: DayLog, tmp_path: Path) -> None:
    (tmp_path / "2026-11-23.log").mkdir()
    log.append("2026-11-23", [b"one"])
    log.append(DAY, [b"two"])
    log.flush()
    assert (tmp_path / "2026-11-24.log").read_bytes() == b"two\n"


def test_a_disk_that_takes_only_a_part_loses_and_doubles_nothing(tmp_path: Path) -> None:
    log = DayLog(tmp_path)
    with files_of_at_most(7):
        log.append(DAY, [b"first", b"second"])
    assert (tmp_path / "2026-11-24.log").read_bytes() == b"first\ns"
    log.append(DAY, [b"third"])
    log.close()
    assert (tmp_path / "2026-11-24.log").read_bytes() == b"first\nsecond\nthird\n"


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The kernel lets this process write no file beyond ``size`` bytes (RLIMIT_FSIZE)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_the_day_is_the_local_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for zone, day in (("UTC", "2026-11-24"), ("Pacific/Auckland", "2026-11-25"), ("UTC", "2026-11-24")):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        day_of.cache_clear()
        assert day_of(1795546055) == day
    monkeypatch.undo()
    time.tzset()
    day_of.cache_clear()


def test_only_logs_are_days(tmp_path: Path) -> None:
    for name in ("2026-11-24.log", "2026-11-24.log.gz", "error.log", "latest.log"):
        (tmp_path / name).touch()
    assert days(tmp_path) == ["2026-11-24"]
