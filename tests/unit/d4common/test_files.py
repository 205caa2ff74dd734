"""Files that are replaced in one step."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from d4common import files


def test_a_file_is_made_and_replaced_with_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for umask, mode in ((0, 0o600), (0o777, 0o644), (0o022, 0o600)):
        before = os.umask(umask)
        try:
            files.replace(path, b"%o" % umask, mode)
        finally:
            os.umask(before)
        assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"%o" % umask, mode)
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_leaves_all_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    with pytest.raises(IsADirectoryError):
        files.replace(tmp_path / "directory", b"x", 0o600)
    with pytest.raises(FileNotFoundError):
        files.replace(tmp_path / "missing" / "file", b"x", 0o600)
    assert list(tmp_path.iterdir()) == [tmp_path / "directory"]


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    files.replace(tmp_path / "link", b"new", 0o600)
    assert (tmp_path / "target").read_text() == "old"
    assert (tmp_path / "link").read_text() == "new" and not (tmp_path / "link").is_symlink()
