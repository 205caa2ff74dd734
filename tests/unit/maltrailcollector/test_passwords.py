"""The file with the hash of the password."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from d4common.journal import FIRST_PASSWORD
from d4common.passwords import matches
from maltrailcollector import passwords


def test_the_hash_of_a_stored_password_is_read_again(tmp_path: Path) -> None:
    passwords.store(tmp_path, "correct horse")
    hash = passwords.stored(tmp_path)
    assert hash is not None and matches(hash, "correct horse")


def test_only_the_owner_of_the_directory_may_read_it(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(tmp_path, 12345, 23456)
    passwords.store(tmp_path, "correct horse")
    made = passwords.path_of(tmp_path).stat()
    assert stat.S_IMODE(made.st_mode) == 0o600
    assert (made.st_uid, made.st_gid) == (tmp_path.stat().st_uid, tmp_path.stat().st_gid)
    assert [path.name for path in tmp_path.iterdir()] == ["password"]


def test_the_first_password_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    passwords.make_first(tmp_path)
    passwords.make_first(tmp_path)
    (record,) = caplog.records
    assert record.__dict__["MESSAGE_ID"] == FIRST_PASSWORD
    said = re.search(r"admin: (\S+)", record.getMessage())
    hash = passwords.stored(tmp_path)
    assert said and hash and matches(hash, said[1])


def test_a_file_that_cannot_be_read_lets_nobody_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert passwords.stored(tmp_path / "nowhere") is None
    assert "nowhere/password cannot be read" in caplog.text
    passwords.path_of(tmp_path).write_bytes(b"\xff")
    assert passwords.stored(tmp_path) is None
