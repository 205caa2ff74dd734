"""Standard input: pipes, files, and a stop in between."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
import uvloop
from sourcing import Given, outbox, stored
from waiting import until

from d4common.service import cancel
from d4sensor.source.cutting import Chunks, Lines
from d4sensor.source.stdin import Stdin


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop])
def runner(request: pytest.FixtureRequest):  # type: ignore[no-untyped-def]
    with asyncio.Runner(loop_factory=request.param) as made:
        yield made


def test_a_pipe_is_read_to_its_end(runner: asyncio.Runner) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"one\ntwo\nunfin")
    os.write(writing, b"ished")
    os.close(writing)
    given = Given()
    runner.run(Stdin(Lines(), reading).run(given))
    os.close(reading)
    assert given.records == [b"one\n", b"two\n", b"unfinished\n"]


@pytest.mark.parametrize("name", ["file", "/dev/null"])
def test_a_file_is_read_to_its_end(runner: asyncio.Runner, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    content = b"" if path.exists() else bytes(range(256)) * 1000
    if content:
        path.write_bytes(content)
    given = Given()
    with path.open("rb") as file:
        runner.run(Stdin(Chunks(), file.fileno()).run(given))
    assert b"".join(given.records) == content


def test_a_writer_waits_where_there_is_no_room() -> None:
    async def run() -> None:
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        given = Given()
        given.room.clear()
        task = asyncio.create_task(Stdin(Lines(), reading).run(given))
        written = 0
        for _ in range(20):
            await asyncio.sleep(0)
            try:
                written += os.write(writing, b"line\n" * 1000)
            except BlockingIOError:
                break
        else:
            raise AssertionError("the pipe never was full")
        given.room.set()
        os.set_blocking(writing, True)
        os.close(writing)
        await task
        os.close(reading)
        assert sum(map(len, given.records)) - written in (0, 1)  # the last write may have cut a line

    asyncio.run(run())


def test_what_was_read_is_kept_where_a_stop_comes() -> None:
    async def run() -> None:
        reading, writing = os.pipe()
        given = Given()
        given.room.clear()
        task = asyncio.create_task(Stdin(Lines(), reading).run(given))
        os.write(writing, b"one\ntwo\nunfinished")
        await until(lambda: not os.get_blocking(reading) or not _waits(reading))
        await cancel(task)
        os.close(reading)
        os.close(writing)
        assert given.records == [b"one\n", b"two\n", b"unfinished\n"]

    asyncio.run(run())


def test_it_reaches_a_spool(tmp_path: Path) -> None:
    lines = b"".join(b"%d\n" % number for number in range(100_000))
    (tmp_path / "input").write_bytes(lines)

    async def run() -> None:
        waiting = outbox(tmp_path / "spool")
        await waiting.open()
        with (tmp_path / "input").open("rb") as file:
            await Stdin(Lines(), file.fileno()).run(waiting)
        await waiting.close()

    asyncio.run(run())
    assert stored(tmp_path / "spool") == lines


def _waits(descriptor: int) -> bool:
    """Whether there is something to read."""
    import select

    return bool(select.select([descriptor], [], [], 0)[0])
