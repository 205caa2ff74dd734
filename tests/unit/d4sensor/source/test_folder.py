"""A folder into which files are put: each once, when it is complete."""

from __future__ import annotations

import asyncio
import json
import os
from base64 import b64encode
from pathlib import Path

import pytest
from sourcing import Given, outbox, read, running, taken
from waiting import until

from d4common.service import cancel
from d4sensor.source import SourceError, folder
from d4sensor.source.cutting import Base64Line, Lines
from d4sensor.source.folder import Folder


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "POLL", 0.01)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir()
    return made


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def put(path: Path, name: str, text: str, age: int = 0) -> None:
    """Puts a complete file there."""
    draft = path / f".{name}"
    draft.write_text(text)
    os.utime(draft, (1_700_000_000 - age, 1_700_000_000 - age))
    draft.rename(path / name)


def given_of(path: Path, spool: Path, end: str) -> str:
    """What the spool has when the folder has been read until its content ends so."""
    source = Folder(path, 0, Lines())
    return read(source, spool, lambda content: content.endswith(end.encode())).decode()


def test_files_are_given_once_the_oldest_first(path: Path, spool: Path) -> None:
    put(path, "a", "younger\n", age=1)
    put(path, "b", "older, and its last line has no end", age=2)
    (path / "sub").mkdir()
    put(path / "sub", "c", "in a sub-folder\n")
    (path / ".hidden").write_text("not yet complete\n")
    assert given_of(path, spool, "younger\n") == "older, and its last line has no end\nyounger\n"
    put(path, "d", "new\n")
    assert given_of(path, spool, "new\n").endswith("younger\nnew\n")


def test_a_file_that_grows_is_waited_for(path: Path, spool: Path) -> None:
    async def run() -> None:
        waiting = outbox(spool)
        async with running(Folder(path, 0.2, Lines()), waiting):
            with (path / "growing").open("w") as growing:
                for number in range(20):
                    print(number, file=growing, flush=True)
                    assert taken(waiting) == b""
                    await asyncio.sleep(0.02)
            await until(lambda: taken(waiting) == b"".join(b"%d\n" % number for number in range(20)))

    asyncio.run(run())


def test_it_goes_on_within_a_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "AT_ONCE", 10)
    lines = [b"%d\n" % number for number in range(100)]
    put(path, "file", b"".join(lines).decode())

    async def run(intake: Given, enough: int) -> None:
        task = asyncio.create_task(Folder(path, 0, Lines()).run(intake))
        await until(lambda: len(intake.records) >= enough)
        await cancel(task)

    class Short(Given):
        """Has room until the middle of the file."""

        async def put_all(self, records: object, position: str | None = None) -> None:
            await super().put_all(records, position)  # type: ignore[arg-type]
            if len(self.records) > 50:
                self.room.clear()

    first = Short()
    asyncio.run(run(first, 51))
    rest = Given(first.position)
    asyncio.run(run(rest, 100 - len(first.records)))
    assert first.records + rest.records == lines


def test_a_file_that_changes_later_is_given_again(path: Path, spool: Path) -> None:
    put(path, "file", "one\n")
    given_of(path, spool, "one\n")
    put(path, "file", "two\n")
    assert given_of(path, spool, "two\n") == "one\ntwo\n"


def test_what_is_not_there_any_more_is_forgotten(path: Path) -> None:
    async def run() -> None:
        intake = Given()
        task = asyncio.create_task(Folder(path, 0, Lines()).run(intake))
        for number in range(5):
            put(path, str(number), f"{number}\n")
            await until(lambda: len(intake.records) == number + 1)  # noqa: B023
            (path / str(number)).unlink()
            await asyncio.sleep(0.05)
        await cancel(task)
        assert intake.position is not None and len(json.loads(intake.position)["done"]) == 1

    asyncio.run(run())


def test_without_a_memory_only_new_files_are_given(path: Path) -> None:
    put(path, "old", "old\n")

    async def run() -> None:
        intake = Given()
        task = asyncio.create_task(Folder(path, 0, Lines(), only_new=True).run(intake))
        await asyncio.sleep(0.05)
        put(path, "new", "new\n")
        await until(lambda: intake.records)
        await cancel(task)
        assert intake.records == [b"new\n"]

    asyncio.run(run())


def test_a_folder_can_hold_only_so_many(
    path: Path, spool: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(folder, "MOST", 2)
    for number in range(3):
        put(path, str(number), f"{number}\n", age=10 - number)

    async def run() -> None:
        waiting = outbox(spool)
        async with running(Folder(path, 0, Lines()), waiting):
            await until(lambda: "holds 2 files that have been read; remove them" in caplog.text)
            assert taken(waiting) == b"0\n1\n"
            (path / "0").unlink()
            await until(lambda: taken(waiting) == b"0\n1\n2\n")

    asyncio.run(run())


def test_each_file_as_a_line_of_base64(path: Path, spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "AT_ONCE", 1000)
    content = bytes(range(256)) * 13
    (path / "file").write_bytes(content)
    line = b64encode(content) + b"\n"
    assert read(Folder(path, 0, Base64Line()), spool, lambda taken: taken == line) == line


def test_what_is_no_folder_cannot_be_read(path: Path, spool: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read as a folder: No such file"):
        read(Folder(path / "missing", 0, Lines()), spool, lambda content: False)
