from __future__ import annotations

import logging
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spooling import files_of_at_most, opened, packed, payload, waiting

from d4common.journal import SPOOL_DAMAGED
from d4sensor import salvage
from d4sensor.spool import Packed, Spool
from d4sensor.spoolfile import PAGE, SpoolBlocked, SpoolError

ACKNOWLEDGED, LAST = 40, 300


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spool with packets 41 to 300; beside it, with the suffix .running, as it was before it was closed."""
    path = tmp_path_factory.mktemp("whole") / "spool"
    with closing(opened(path)) as spool:
        spool.append([packed(number) for number in range(1, 101)])
        spool.acknowledge(ACKNOWLEDGED)
        for first in range(101, LAST, 20):
            spool.append([packed(number) for number in range(first, first + 20)], position=f"line {first}")
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{path}{suffix}", f"{path}.running{suffix}")
    return path


@pytest.fixture
def path(whole: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copy(whole, tmp_path))


def damage(path: Path, change: Callable[[bytearray], None]) -> None:
    """Changes the bytes of a file."""
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)


def originals(spool: Spool) -> list[int]:
    """Which packets of the whole spool wait, by their original numbers; fails where one is none of them."""
    numbers = []
    for packet in waiting(spool):
        number = packet.timestamp - 1_700_000_000
        assert packet.payload == payload(number)
        numbers.append(number)
    return numbers


def set_aside(path: Path) -> list[Path]:
    """The damaged spools that were kept."""
    return list(path.parent.glob("*.damaged-*"))


def test_a_spool_that_is_whole_stays(path: Path) -> None:
    with closing(opened(path)) as spool:
        id = spool.id
        assert originals(spool) == list(range(41, 301))
    with closing(opened(path)) as spool:
        assert (spool.id, spool.about.first) == (id, 41)
    assert os.listdir(path.parent) == ["spool"]


def test_a_changed_bit_in_a_payload_costs_that_packet(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    old = path.read_bytes()
    with closing(opened(path)) as spool:
        id = spool.id

    def change(content: bytearray) -> None:
        content[content.index(payload(77)) + 100] ^= 4

    damage(path, change)
    damaged = path.read_bytes()
    with closing(opened(path)) as spool:
        assert originals(spool) == [*range(41, 77), *range(78, 301)]
        assert [packet.number for packet in waiting(spool)] == list(range(1, 260))
        assert spool.id != id
        assert spool.about.position == "line 281"
    [aside] = set_aside(path)
    assert aside.read_bytes() == damaged != old
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.__dict__["MESSAGE_ID"] == SPOOL_DAMAGED
    assert record.getMessage() == (
        f"{path} is damaged: packet 77 is not what was written; packets that could be read and will be "
        f"sent: 259, lost: 1; the file is kept as {aside}"
    )


def first_page(content: bytearray) -> None:
    content[:PAGE] = os.urandom(PAGE)


def header(content: bytearray) -> None:
    content[:100] = bytes(100)


def rename_packets(content: bytearray) -> None:
    at = content.index(b"TABLE packets")
    content[at : at + 13] = b"TABLE pockets"


@pytest.mark.parametrize("change", [first_page, header, rename_packets])
def test_without_its_first_page_all_can_be_read(path: Path, change: Callable[[bytearray], None]) -> None:
    damage(path, change)
    with closing(opened(path)) as spool:
        assert originals(spool) == list(range(41, 301))
        assert spool.about.position == "line 281"
    assert len(set_aside(path)) == 1


def test_pages_that_are_gone_cost_no_more_than_what_was_in_them(path: Path) -> None:
    def change(content: bytearray) -> None:
        for page in (20, 30, 50):
            content[page * PAGE : (page + 1) * PAGE] = bytes(PAGE)

    damage(path, change)
    with closing(opened(path)) as spool:
        kept = originals(spool)
    holes = [range(last + 1, next) for last, next in pairwise([40, *kept, 301]) if next > last + 1]
    assert len(holes) == 3
    assert all(sum(len(payload(number)) for number in hole) < PAGE for hole in holes)


def test_half_a_file_gives_what_is_in_it(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)
    with closing(opened(path)) as spool:
        kept = originals(spool)
    assert kept == list(range(41, 41 + len(kept)))
    assert len(kept) > 80


@pytest.mark.parametrize("table", ["about", "packets"])
def test_a_missing_table(path: Path, table: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"DROP TABLE {table}")
    with closing(opened(path)) as spool:
        assert originals(spool) == (list(range(41, 301)) if table == "about" else [])
        assert spool.append([packed(301)])[0].payload == payload(301)
    assert len(set_aside(path)) == 1


def test_nothing_but_packets_with_high_numbers_the_first_of_them_damaged(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    with closing(opened(path)) as spool:
        spool.about = replace(spool.about, first=5_000_000_000, next=5_000_000_000)
        spool.append([packed(number) for number in range(1, 301)])
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE about SET crc = 0")
        database.execute("UPDATE packets SET time = 0 WHERE number = 5000000000")
    with closing(opened(path)) as spool:
        assert originals(spool) == list(range(2, 301))
        assert spool.about.next == 300


def test_what_is_no_spool_is_kept_too(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    path.write_bytes(b"something else" * 10_000)
    with closing(opened(path)) as spool:
        assert originals(spool) == []
    assert [aside.read_bytes() for aside in set_aside(path)] == [b"something else" * 10_000]


def test_without_room_for_a_new_one_the_damaged_one_stays(path: Path) -> None:
    damage(path, first_page)
    damaged = path.read_bytes()
    for size in (20_000, 100_000, path.stat().st_size - 1):
        with files_of_at_most(size), pytest.raises(SpoolBlocked):
            opened(path)
        assert path.read_bytes() == damaged
    with closing(opened(path)) as spool:
        assert originals(spool) == list(range(41, 301))
    assert len(os.listdir(path.parent)) == 2


@pytest.mark.parametrize("step", range(1, 9))
def test_a_crash_while_it_is_mended_loses_nothing(
    path: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(path, first_page)
    steps = 0

    class Crash(BaseException):
        pass

    def crash(name: str) -> None:
        real = getattr(os, name)

        def call(*arguments: object) -> None:
            nonlocal steps
            steps += 1
            if steps == step:
                raise Crash
            real(*arguments)

        monkeypatch.setattr(salvage.os, name, call)

    for name in ("replace", "fsync", "unlink"):
        crash(name)
    append = Spool.append

    def append_or_crash(spool: Spool, *arguments: object) -> object:
        nonlocal steps
        steps += 1
        if steps == step:
            raise Crash
        return append(spool, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Spool, "append", append_or_crash)
    with suppress(Crash):
        opened(path).close()
    monkeypatch.undo()
    with closing(opened(path)) as spool:
        assert originals(spool) == list(range(41, 301))
    assert len(set_aside(path)) == 1
    assert len(os.listdir(path.parent)) == 2


@st.composite
def damages(draw: st.DrawFn) -> Callable[[bytearray], None]:
    """Something that happens to the bytes of a file."""
    kind = draw(st.sampled_from(["bytes", "pages", "swap", "cut"]))
    places = draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=20))
    seed = draw(st.integers(0, 1 << 30))
    early = draw(st.booleans())

    def change(content: bytearray) -> None:
        chance = random.Random(seed)
        for place in places:
            # The head of a page has all that tells where things are in it.
            at = int(place * len(content))
            if early:
                at = at // PAGE * PAGE + at % 128
            page = at // PAGE * PAGE
            other = chance.randrange(max(len(content) // PAGE, 1)) * PAGE
            if kind == "bytes":
                content[at] = chance.randrange(256)
            elif kind == "pages":
                content[page : page + PAGE] = chance.randbytes(PAGE)
            elif kind == "swap":
                content[page : page + PAGE] = content[other : other + PAGE]
            else:
                del content[at:]
                return

    return change


@settings(max_examples=150)
@given(change=damages(), log=st.booleans(), running=st.booleans())
def test_no_damage_makes_up_a_packet(
    whole: Path, change: Callable[[bytearray], None], log: bool, running: bool
) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory, "spool")
        for suffix in ("", "-wal") if running else ("",):
            shutil.copyfile(f"{whole}{'.running' if running else ''}{suffix}", f"{path}{suffix}")
        damage(Path(f"{path}-wal") if log and running else path, change)
        try:
            spool = opened(path)
        except SpoolError:
            return
        with closing(spool):
            kept = originals(spool)
            assert kept == sorted(set(kept))
            numbers = [packet.number for packet in waiting(spool)]
            assert numbers == list(range(spool.about.first, spool.about.next))
            spool.append([Packed(1_700_000_000 + LAST + 1, 1, payload(LAST + 1))])
            assert originals(spool) == [*kept, LAST + 1]
            spool.acknowledge(spool.about.next)
            assert waiting(spool) == []
