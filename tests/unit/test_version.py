"""One version: what the packages, the Python distributions and the code say is the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import d4common

TREE = Path(__file__).resolve().parents[2]


def test_everything_has_the_version_of_the_changelog() -> None:
    entry = re.match(r"d4 \(([^)]+)\)", (TREE / "debian" / "changelog").read_text())
    assert entry
    projects = [tomllib.loads(path.read_text())["project"] for path in TREE.glob("*/pyproject.toml")]
    assert len(projects) == 5
    assert {project["version"] for project in projects} | {d4common.__version__} == {entry[1]}
