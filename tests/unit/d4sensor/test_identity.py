"""A sensor's identity is made once, whole, and for root alone."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from d4common import config
from d4sensor import identity
from d4sensor.config import SensorConfig


def test_is_a_drop_in_with_a_uuid_and_a_key(tmp_path: Path) -> None:
    path = tmp_path / "sensor.conf.d" / "10-identity.conf"
    assert identity.make(path)
    d4 = config.load(SensorConfig, [path]).value.d4
    assert d4.uuid is not None and d4.uuid.version == 4
    assert d4.key is not None and len(d4.key) == 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == [path.name], "nothing else is left"


def test_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "10-identity.conf"
    identity.make(path)
    before = path.read_bytes()
    assert not identity.make(path)
    assert path.read_bytes() == before
    path.write_text("[d4]\n")
    assert not identity.make(path), "somebody emptied it, and will know why"


def test_no_two_are_the_same(tmp_path: Path) -> None:
    for name in ("one", "two"):
        identity.make(tmp_path / name)
    one, two = (config.load(SensorConfig, [tmp_path / name]).value.d4 for name in ("one", "two"))
    assert one.uuid != two.uuid and one.key != two.key


def test_the_umask_and_what_a_crash_left_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "10-identity.conf"
    left = tmp_path / f".{path.name}.new"
    left.write_text("left over")
    left.chmod(0o644)
    before = os.umask(0)
    try:
        assert identity.make(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "left over" not in path.read_text()


def test_a_directory_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        identity.make(tmp_path / "file" / "10-identity.conf")


def test_of_those_that_start_at_once_one_wins_with_a_whole_file(tmp_path: Path) -> None:
    starting = Barrier(4)

    def make(path: Path) -> bool:
        """Makes an identity at the same moment as others do, and looks at what is there."""
        starting.wait(10)
        made = identity.make(path)
        assert config.load(SensorConfig, [path]).value.d4.key is not None
        return made

    with ThreadPoolExecutor(4) as threads:
        for number in range(100):
            path = tmp_path / str(number)
            assert sum(threads.map(make, [path] * 4)) == 1
