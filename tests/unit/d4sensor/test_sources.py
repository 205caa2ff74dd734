"""Files and directories of trails."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4sensor.sources import Problem, load
from d4sensor.trails import Trail, TrailError, Trails


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory whose path says nothing about the trails in it."""
    path = tmp_path / "trails"
    path.mkdir()
    return path


def write(path: Path, *lines: str) -> Path:
    """A file of these lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def loaded(*paths: Path) -> Trails:
    """The trails in these paths, which hold nothing else."""
    found, problems = load(map(str, paths))
    assert problems == []
    return found


def said(found: Trails, key: str) -> Trail | None:
    """What is said about an indicator, but for where."""
    trail = found.get(key)
    return trail and trail._replace(source="")


def test_comments_and_blank_lines_are_passed_over(directory: Path) -> None:
    file = write(
        directory / "x.txt",
        "# Copyright",
        "",
        "# Reference: https://report.tld/evil.tld",
        "evil.tld",
        "192.0.2.1 # scanner",
        "   ",
        "/path#fragment",
    )
    found = loaded(file)
    assert len(found) == 3
    assert found.get("evil.tld") and found.get("192.0.2.1") and found.get("/path#fragment")
    assert found.get("report.tld") is None


@pytest.mark.parametrize(
    ("name", "trail"),
    [
        ("malware/foo_bar.txt", Trail("foo bar (malware)", "(static)")),
        ("static/suspicious/x.txt", Trail("x (suspicious)", "(static)")),
        ("malicious/cobaltstrike-2.txt", Trail("cobaltstrike-2 (malicious)", "(static)")),
        ("mass_scanner.txt", Trail("mass scanner", "(static)")),
        ("elsewhere/mass_scanner.txt", Trail("mass scanner", "(static)")),
        ("trails.d/our_own.txt", Trail("our own", "(custom)")),
        ("trails.d/malware/our_own.txt", Trail("our own (malware)", "(custom)")),
    ],
)
def test_info_and_reference_are_in_the_name_of_the_file(directory: Path, name: str, trail: Trail) -> None:
    write(directory / name, "evil.tld")
    assert said(loaded(directory), "evil.tld") == trail


def test_csv_has_info_and_reference_in_each_row(directory: Path) -> None:
    file = write(
        directory / "trails.csv",
        'evil.tld,"a ""b"", c (malware)",abuse.ch',
        "[2001:db8:0:0:0:0:0:1]:443,c2,(static)",
        "plain.tld,no reference",
    )
    found = loaded(file)
    assert said(found, "evil.tld") == Trail('a "b", c (malware)', "abuse.ch")
    assert said(found, "[2001:db8::1]:443") == Trail("c2", "(static)")
    assert said(found, "plain.tld") == Trail("no reference", "(static)")


def test_directory_is_read_to_its_depth_and_nothing_but_trail_files(directory: Path) -> None:
    write(directory / "a" / "b" / "x.txt", "one.tld")
    write(directory / "y.csv", "two.tld,y,z")
    write(directory / "z.txt~", "three.tld")
    write(directory / "README", "four.tld")
    assert len(loaded(directory)) == 2


def test_later_path_decides(directory: Path) -> None:
    first, second = write(directory / "a.txt", "evil.tld"), write(directory / "b.txt", "evil.tld")
    assert said(loaded(first, second), "evil.tld") == Trail("b", "(static)")
    assert said(loaded(second, first), "evil.tld") == Trail("a", "(static)")


def test_malware_decides_over_malicious_over_suspicious(directory: Path) -> None:
    write(directory / "suspicious" / "x.txt", "a.tld", "b.tld")
    write(directory / "malicious" / "y.txt", "a.tld", "b.tld")
    write(directory / "malware" / "z.txt", "a.tld")
    found = loaded(directory)
    assert said(found, "a.tld") == Trail("z (malware)", "(static)")
    assert said(found, "b.tld") == Trail("y (malicious)", "(static)")


def test_history_decides_nothing(directory: Path) -> None:
    write(directory / "malware" / "apt_history.txt", "a.tld", "b.tld")
    write(directory / "suspicious" / "x.txt", "a.tld")
    found = loaded(directory)
    assert said(found, "a.tld") == Trail("x (suspicious)", "(static)")
    assert said(found, "b.tld") == Trail("apt history (malware)", "(static)")


def test_lines_that_hold_no_trail_are_reported_and_the_others_kept(directory: Path) -> None:
    text = write(directory / "x.txt", "# ok", "192.0.2.1:53:53", "evil.tld")
    rows = write(directory / "y.csv", "one.tld,a,b", "only-one-field", "1.2.3,a,b", "two.tld,a,b")
    found, problems = load([str(directory)])
    assert len(found) == 3
    assert problems == [
        Problem(str(text), 2, "'192.0.2.1:53:53' is not an address"),
        Problem(str(rows), 2, "a row is trail,info,reference"),
        Problem(str(rows), 3, "'1.2.3' is not an address"),
    ]
    assert str(problems[0]) == f"{text}:2: '192.0.2.1:53:53' is not an address"


def test_bytes_that_are_no_text_are_problems(directory: Path) -> None:
    (directory / "x.txt").write_bytes(b"\xff\xfe\x00\nevil.tld\n")
    found, problems = load([str(directory)])
    assert [problem.line for problem in problems] == [1]
    assert found.get("evil.tld")


def test_file_that_cannot_be_read(directory: Path) -> None:
    with pytest.raises(TrailError, match="absent.txt: No such file or directory"):
        load([str(directory / "absent.txt")])


def test_empty_directory_holds_no_trails(directory: Path) -> None:
    assert len(loaded(directory)) == 0


def test_a_trail_names_the_file_that_it_is_from(directory: Path) -> None:
    file = write(directory / "malware" / "x.txt", "evil.tld")
    trail = loaded(directory).get("evil.tld")
    assert trail is not None
    assert trail.source == str(file)


def test_patterns_are_trails(directory: Path) -> None:
    write(directory / "malware" / "x.txt", "evil[0-9]+.tld", "evil.tld")
    found = loaded(directory)
    assert [key for _, key in found.patterns] == ["evil[0-9]+.tld"]
    assert said(found, "evil[0-9]+.tld") == Trail("x (malware)", "(static)")


@given(st.binary(max_size=200), st.sampled_from([".txt", ".csv"]))
def test_any_file_loads(tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str) -> None:
    file = tmp_path_factory.mktemp("trails") / f"any{suffix}"
    file.write_bytes(content)
    load([str(file)])
