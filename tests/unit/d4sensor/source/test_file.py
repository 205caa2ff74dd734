"""A log that grows, is rotated, is emptied, while it is read and while it is not."""

from __future__ import annotations

import asyncio
import os
import zlib
from pathlib import Path

import pytest
from sourcing import outbox, read, running, stored, taken
from waiting import until

from d4sensor.source import SourceError, file
from d4sensor.source.cutting import Chunks, Lines
from d4sensor.source.file import File


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "POLL", 0.01)
    monkeypatch.setattr(file, "LAST_WORDS", 0.1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.log"


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def append(path: Path, text: str) -> None:
    with path.open("a") as log:
        log.write(text)


def followed(path: Path, spool: Path, end: str) -> str:
    """What the spool has when the file has been followed until its content ends so."""
    return read(File(path, Lines()), spool, lambda content: content.endswith(end.encode())).decode()


def test_what_is_there_and_what_comes_is_given(path: Path, spool: Path) -> None:
    append(path, "one\n")

    async def run() -> None:
        waiting = outbox(spool)
        async with running(File(path, Lines()), waiting):
            await until(lambda: taken(waiting) == b"one\n")
            append(path, "two\nthr")
            await until(lambda: taken(waiting) == b"one\ntwo\n")
            append(path, "ee\n")
            await until(lambda: taken(waiting) == b"one\ntwo\nthree\n")

    asyncio.run(run())


def test_it_goes_on_where_it_was(path: Path, spool: Path) -> None:
    append(path, "one\ntw")
    assert followed(path, spool, "one\n") == "one\n"
    append(path, "o\nthree\n")
    assert followed(path, spool, "three\n") == "one\ntwo\nthree\n"


def test_a_file_that_is_not_there_is_waited_for(
    path: Path, spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        waiting = outbox(spool)
        async with running(File(path, Lines()), waiting):
            await until(lambda: "is not there" in caplog.text)
            append(path, "one\n")
            await until(lambda: taken(waiting) == b"one\n")

    asyncio.run(run())
    assert caplog.text.count("is not there; waiting for it") == 1


def test_the_old_file_is_read_to_its_end_before_the_new_one(path: Path, spool: Path) -> None:
    append(path, "one\n")

    async def run() -> None:
        waiting = outbox(spool)
        async with running(File(path, Lines()), waiting):
            await until(lambda: taken(waiting) == b"one\n")
            old = path.open("a")
            path.rename(path.with_suffix(".log.1"))
            append(path, "of the new one\n")
            print("last words\nunfinished", end="", file=old, flush=True)
            await until(lambda: b"last words\n" in taken(waiting))
            assert b"new" not in taken(waiting)
            old.close()
            await until(lambda: taken(waiting) == b"one\nlast words\nunfinished\nof the new one\n")

    asyncio.run(run())


def test_files_that_were_rotated_meanwhile_are_read_in_their_order(path: Path, spool: Path) -> None:
    append(path, "one\n")
    assert followed(path, spool, "one\n") == "one\n"
    append(path, "two\n")
    path.rename(path.with_name("app.log.2"))
    for name, text in (("app.log.1", "three\n"), ("app.log", "four\n")):
        append(path.with_name(name), text)
    append(path.with_name("app.log.bak"), "a copy\n")
    append(path.with_name("app.log.3.gz"), "compressed\n")
    for age, name in enumerate(("app.log", "app.log.1", "app.log.2")):
        os.utime(path.with_name(name), (1_700_000_000 - age, 1_700_000_000 - age))
    assert followed(path, spool, "four\n") == "one\ntwo\nthree\nfour\n"


def test_rotation_that_ended_between_two_runs_is_not_read_twice(path: Path, spool: Path) -> None:
    append(path, "one\n")
    followed(path, spool, "one\n")
    path.rename(path.with_name("app.log.1"))
    append(path, "two\n")
    assert followed(path, spool, "two\n") == "one\ntwo\n"
    path.with_name("app.log.1").unlink()
    append(path, "three\n")
    assert followed(path, spool, "three\n") == "one\ntwo\nthree\n"


def test_a_file_that_is_gone_is_told(path: Path, spool: Path, caplog: pytest.LogCaptureFixture) -> None:
    append(path, "one\n")
    followed(path, spool, "one\n")
    path.rename(path.with_name("elsewhere"))
    append(path, "two\n")
    assert followed(path, spool, "two\n") == "one\ntwo\n"
    assert "the file that was read up to byte 4 is neither" in caplog.text


@pytest.mark.parametrize("new", ["a\n", "another beginning, and longer than before\n"])
def test_a_file_that_was_emptied_begins_anew(
    new: str, path: Path, spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where it has grown beyond where it was, while nobody looked."""
    append(path, "one\ntwo\n")
    followed(path, spool, "two\n")
    path.write_text(new)
    assert followed(path, spool, new) == f"one\ntwo\n{new}"
    assert "was emptied, or written anew" in caplog.text


def test_a_file_emptied_within_an_unfinished_line_begins_anew(path: Path, spool: Path) -> None:
    append(path, "unfinished")

    async def run() -> None:
        waiting = outbox(spool)
        source = File(path, Lines())
        async with running(source, waiting):
            await until(lambda: source._cutter.held == 10)
            os.truncate(path, 0)
            await until(lambda: taken(waiting) == b"unfinished\n")
            append(path, "anew\n")
            await until(lambda: taken(waiting) == b"unfinished\nanew\n")

    asyncio.run(run())


def test_bytes_that_are_no_lines(path: Path, spool: Path) -> None:
    content = bytes(range(256)) * 5000
    path.write_bytes(content)
    assert read(File(path, Chunks()), spool, lambda taken: len(taken) == len(content), type=1) == content


def test_what_is_no_file_cannot_be_followed(tmp_path: Path, spool: Path) -> None:
    with pytest.raises(SourceError, match="is not a regular file"):
        read(File(tmp_path, Lines()), spool, lambda content: False)


def test_a_full_spool_makes_it_wait(path: Path, spool: Path) -> None:
    """And what the server has then taken makes room for the rest."""
    lines = [b"%01000d\n" % number for number in range(3000)]
    path.write_bytes(b"".join(lines))

    async def run() -> list[bytes]:
        waiting = outbox(spool, most_bytes=1 << 20)
        got: list[bytes] = []
        async with running(File(path, Lines()), waiting):
            while len(got) < len(lines):
                await waiting.filled(waiting.first)
                packets = await waiting.read(waiting.first, 1 << 16)
                got += b"".join(packet.payload for packet in packets).splitlines(keepends=True)
                await waiting.acknowledge(packets[-1].number)
        assert waiting.dropped == 0
        return got

    assert asyncio.run(run()) == lines
    assert stored(spool) == b""


def test_a_place_is_one_in_a_file_whatever_the_number_of_its_device(path: Path, spool: Path) -> None:
    """Which may be another one after a boot."""
    append(path, "one\n")
    followed(path, spool, "one\n")

    async def position() -> str | None:
        waiting = outbox(spool)
        await waiting.open()
        await waiting.close()
        return waiting.position

    crc = zlib.crc32(b"one\n")
    assert asyncio.run(position()) == f"{path.stat().st_ino} 4 {crc}"
