"""d4-sensor spool status and renew, on spools that nobody and that somebody has open."""

from __future__ import annotations

import argparse
import time
from contextlib import closing
from pathlib import Path

import pytest
from spooling import opened, packed, waiting

from d4sensor import spool_commands


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where spools are: that of events, in which packets 3 and 4 wait, and that of the source ``web``."""
    (tmp_path / "spool" / "web").mkdir(parents=True)
    with closing(opened(tmp_path / "spool" / "maltrail.db")) as spool:
        spool.append([packed(number) for number in (1, 2, 3, 4)])
        spool.acknowledge(2)
    with closing(opened(tmp_path / "spool" / "web" / "source.db")):
        pass
    return tmp_path / "spool"


def run(directory: Path, *words: str) -> None:
    """Runs `d4-sensor spool …` for the spools in a directory."""
    config = directory.parent / "sensor.conf"
    config.write_text(f"[spool]\npath = {directory}\n")
    parser = argparse.ArgumentParser()
    spool_commands.add(parser.add_subparsers(), lambda arguments: [config])
    arguments = parser.parse_args(["spool", *words])
    arguments.run(arguments)


def test_status_says_what_waits_in_each(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(opened(directory / "maltrail.db")) as spool:
        size = sum(len(packet.payload) for packet in waiting(spool))
    run(directory, "status")
    oldest = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(1_700_000_003))
    assert capsys.readouterr().out.splitlines() == [
        f"maltrail.db: 2 records in 2 packets wait, {size} bytes, since {oldest}; "
        "0 were dropped since it was made",
        "web/source.db: 0 records in 0 packets wait, 0 bytes; 0 were dropped since it was made",
    ]


def test_status_changes_nothing_and_names_what_is_in_use_or_damaged(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (directory / "web" / "source.db").write_bytes(b"no spool" * 1000)
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    with closing(opened(directory / "maltrail.db")):
        run(directory, "status")
    events, web = capsys.readouterr().out.splitlines()
    assert "maltrail.db is in use by another process" in events
    assert "source.db is damaged: file is not a database" in web
    run(directory, "status")
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", [[], ["web/source.db"]])
def test_renew_gives_another_uuid_and_keeps_what_waits(directory: Path, name: list[str]) -> None:
    path = directory / (name or ["maltrail.db"])[0]
    with closing(opened(path)) as spool:
        before, packets = spool.id, waiting(spool)
    run(directory, "renew", *name)
    with closing(opened(path)) as spool:
        assert spool.id != before and spool.id.version == 4
        assert waiting(spool) == packets


def test_renew_of_what_is_not_there_or_in_use(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(directory, "renew", "nothing.db")
    with closing(opened(directory / "maltrail.db")) as spool, pytest.raises(SystemExit):
        run(directory, "renew")
    with closing(opened(directory / "maltrail.db")) as again:
        assert again.id == spool.id
    not_there, in_use = capsys.readouterr().err.splitlines()
    assert not_there == f"{directory}/nothing.db is not there"
    assert "in use by another process" in in_use
    assert not (directory / "nothing.db").exists()
