from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from spooling import files_of_at_most, kill, opened, packed, payload, start_promising, waiting

from d4common.outbox import Numbered
from d4sensor import spool as module
from d4sensor.spool import Packed, Spool
from d4sensor.spoolfile import SpoolBlocked, SpoolError, SpoolNewer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "maltrail.spool"


def test_packets_come_back_as_they_were_numbered_from_1(path: Path) -> None:
    with closing(opened(path)) as spool:
        numbered = spool.append([packed(1), packed(2)]) + spool.append([packed(3)])
        assert numbered == [Numbered(n, 1_700_000_000 + n, payload(n)) for n in (1, 2, 3)]
        assert waiting(spool) == numbered
        assert spool.read(3, 1) == numbered[2:]
        assert spool.read(4, 1) == []


def test_read_gives_as_much_as_asked_for_or_one_packet(path: Path) -> None:
    with closing(opened(path)) as spool:
        spool.append([Packed(0, 1, bytes(100))] * 5)
        assert [packet.number for packet in spool.read(2, 250)] == [2, 3]
        assert [packet.number for packet in spool.read(2, 1)] == [2]


def test_what_is_acknowledged_leaves(path: Path) -> None:
    with closing(opened(path)) as spool:
        spool.append([packed(n) for n in range(1, 6)])
        spool.acknowledge(3)
        spool.acknowledge(2)
        assert [packet.number for packet in waiting(spool)] == [4, 5]
        assert (spool.about.size, spool.about.records) == (len(payload(4)) + len(payload(5)), 2)
        spool.acknowledge(1000)
        assert waiting(spool) == []
        assert (spool.about.first, spool.about.next, spool.about.size) == (6, 6, 0)


def test_numbers_id_and_position_outlive_the_process_even_when_nothing_waits(path: Path) -> None:
    with closing(opened(path)) as spool:
        spool.append([packed(1), packed(2)], position="line 2")
        spool.acknowledge(2)
        id = spool.id
    with closing(opened(path)) as spool:
        assert (spool.id, spool.about.first, spool.about.position) == (id, 3, "line 2")
        assert spool.append([packed(3)])[0].number == 3
        assert spool.about.position == "line 2"
        spool.append((), position="line 9")
    with closing(opened(path)) as spool:
        assert spool.about.position == "line 9"


def test_the_oldest_go_where_there_are_too_many_bytes(path: Path) -> None:
    with closing(opened(path, most_bytes=1000)) as spool:
        spool.append([Packed(0, 3, bytes(300))] * 3)
        spool.append([Packed(0, 3, bytes(300))])
        assert [packet.number for packet in waiting(spool)] == [2, 3, 4]
        assert (spool.about.dropped_packets, spool.about.dropped_records) == (1, 3)
        spool.append([Packed(0, 1, bytes(900))])
        assert [packet.number for packet in waiting(spool)] == [5]
    with closing(opened(path, most_bytes=10)) as spool:
        spool.append(())
        assert waiting(spool) == []
        assert (spool.about.dropped_packets, spool.about.dropped_records) == (5, 13)
        assert (spool.about.first, spool.about.size, spool.about.records) == (6, 0, 0)


def test_what_is_acknowledged_is_not_dropped(path: Path) -> None:
    now = int(time.time())
    with closing(opened(path, most_bytes=1000, most_age=1000)) as spool:
        spool.append([Packed(now, 1, bytes(300))] * 3)
        spool.append([Packed(now - 2000, 1, bytes(300))] * 2, acknowledged=2)
        assert (spool.about.first, spool.about.dropped_packets) == (3, 0)
        spool.append([Packed(now, 1, b"")], acknowledged=5)
        assert (spool.about.first, spool.about.dropped_packets, spool.about.size) == (6, 0, 0)


def test_a_full_spool_drops_more_than_it_must_at_once(path: Path) -> None:
    with closing(opened(path, most_bytes=8_000_000)) as spool:
        for _ in range(8):
            spool.append([Packed(0, 1, bytes(1000))] * 1000)
        firsts = set()
        for _ in range(200):
            spool.append([Packed(0, 1, bytes(1000))])
            firsts.add(spool.about.first)
        assert firsts == {127, 253}


def test_what_can_have_been_sent_is_known_also_after_a_start(path: Path) -> None:
    with closing(opened(path)) as spool:
        spool.append([packed(1)])
        assert (spool.about.known, spool.released) == (0, False)
    with closing(opened(path)) as spool:
        spool.append([packed(2)])
        spool.release()
        assert spool.about.known == 2
        spool.append([packed(3)])
        assert spool.about.known == 3
    with closing(opened(path)) as spool:
        spool.append([packed(4)])
        assert (spool.about.known, spool.released) == (3, False)


def test_the_oldest_go_where_they_are_too_old(path: Path) -> None:
    now = int(time.time())
    with closing(opened(path, most_age=1000)) as spool:
        spool.append([Packed(now - 2000, 1, b"old"), Packed(now - 900, 1, b"young")])
        spool.append(())
        assert [packet.payload for packet in waiting(spool)] == [b"young"]
        assert spool.about.dropped_packets == 1


def test_much_that_goes_at_once_goes_in_small_pieces(path: Path) -> None:
    with closing(opened(path)) as spool:
        for _ in range(10):
            spool.append([Packed(0, 1, bytes(4000))] * 1000)
        spool.acknowledge(6_000)
        assert (spool.about.first, spool.about.dropped_packets) == (6_001, 0)
    with closing(opened(path, most_age=1000)) as spool:
        spool.append([packed(1)])
        assert (spool.about.first, spool.about.dropped_packets) == (10_001, 4_000)
        assert Path(f"{path}-wal").stat().st_size < 10 << 20


def test_only_one_process_has_it(path: Path) -> None:
    with closing(opened(path)):
        _, complaint = start_promising(path).communicate()
        assert f"SpoolError: {path} is in use by another process" in complaint
    opened(path).close()


@pytest.mark.parametrize("contents", [(3, None), (254, {"type": "other"})])
def test_packets_of_another_type_are_refused_and_kept(path: Path, contents: tuple[int, None]) -> None:
    with closing(opened(path)) as spool:
        spool.append([packed(1)])
    with pytest.raises(SpoolError, match='holds packets of type 254 {"type": "maltrail"}, not'):
        Spool(path, *contents, 1000, 1000)
    with closing(opened(path)) as spool:
        assert [packet.payload for packet in waiting(spool)] == [payload(1)]


def test_a_newer_layout_is_refused_and_left_alone(path: Path) -> None:
    with closing(opened(path)) as spool:
        spool.append([packed(1)])
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 2")
    before = path.read_bytes()
    with pytest.raises(SpoolNewer, match="a later d4-sensor made it; install that one again"):
        opened(path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_the_file_does_not_grow_with_what_passes_through(path: Path) -> None:
    with closing(opened(path)) as spool:
        for _ in range(200):
            spool.append([Packed(0, 1, bytes(4000))] * 50)
            spool.acknowledge(spool.about.next - 1)
        assert path.stat().st_size < 4 << 20


def test_a_backlog_that_is_gone_gives_its_space_back(path: Path) -> None:
    with closing(opened(path)) as spool:
        for _ in range(10):
            spool.append([Packed(0, 1, bytes(4000))] * 1000)
        assert path.stat().st_size > 30 << 20
        spool.acknowledge(9_999)
        assert path.stat().st_size < 1 << 20
        spool.append([packed(1)])
    with closing(opened(path)) as spool:
        assert [packet.number for packet in waiting(spool)] == [10_000, 10_001]


def test_a_killed_process_keeps_its_promises(path: Path) -> None:
    promised, oldest = 0, 1
    for _ in range(5):
        process = start_promising(path)
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(30)]
        lines += kill(process).splitlines(keepends=True)
        promised, oldest = map(int, [line for line in lines if line.endswith("\n")][-1].split())
        with closing(opened(path)) as spool:
            packets = waiting(spool)
            numbers = [packet.number for packet in packets]
            assert numbers == list(range(spool.about.first, spool.about.next))
            assert [packet.payload for packet in packets] == [payload(number) for number in numbers]
            assert spool.about.first <= oldest + 7
            # A commit of which nothing could be said any more is there wholly or not at all.
            assert spool.about.next - 1 in (promised, promised + 7)
            assert spool.about.position == str(spool.about.next - 1)
            assert spool.about.first <= promised - 50 + 7 + 1
    assert not list(path.parent.glob("*.damaged*"))


def test_a_copy_of_the_disk_at_any_moment_opens_with_what_was_promised_before(path: Path) -> None:
    process = start_promising(path)
    assert process.stdout is not None
    try:
        for moment in range(8):
            for _ in range(10):
                promised = int(process.stdout.readline().split()[0])
            copy = path.with_name(f"copy{moment}")
            process.send_signal(signal.SIGSTOP)  # the two files are of one moment, as on a disk without power
            for suffix in ("", "-wal"):
                shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
            process.send_signal(signal.SIGCONT)
            # What the disk had not written when the power went is torn.
            with open(f"{copy}-wal", "ab") as log:
                log.write(os.urandom(5000))
            with closing(opened(copy)) as spool:
                assert spool.about.next > promised
                for packet in waiting(spool):
                    assert packet.payload == payload(packet.number)
    finally:
        kill(process)
    assert not list(path.parent.glob("*.damaged*"))


def test_a_full_disk_takes_nothing_half(path: Path) -> None:
    with closing(opened(path)) as spool:
        with files_of_at_most(300_000):
            with pytest.raises(SpoolBlocked, match="cannot be read and written now"):
                while True:
                    spool.append([packed(spool.about.next + index) for index in range(5)])
            full = spool.about
            with pytest.raises(SpoolBlocked):
                spool.append([packed(1)], position="lost")
            assert spool.about == full
            assert [packet.number for packet in waiting(spool)] == list(range(1, full.next))
        assert spool.append([packed(full.next)])[0].number == full.next
    with closing(opened(path)) as spool:
        assert (spool.about.next, spool.about.position) == (full.next + 1, None)
        assert [packet.payload for packet in waiting(spool)] == [payload(n) for n in range(1, full.next + 1)]


def test_the_last_of_the_disk_is_left_for_taking_packets_out(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(opened(path)) as spool:
        spool.append([packed(number) for number in range(1, 101)])
        monkeypatch.setattr(module, "RESERVE", 1 << 60)
        with pytest.raises(SpoolBlocked, match="cannot grow: the disk has .* MiB left"):
            spool.append([packed(101)])
        assert spool.about.next == 101
        spool.append((), position="goes on")
        for acknowledged in (50, 100):
            # In the pages of the others.
            assert spool.append([packed(spool.about.next)], acknowledged=acknowledged)
            assert spool.about.first == acknowledged + 1


class Model(RuleBasedStateMachine):
    """A spool against a list of what should be in it."""

    sizes = st.lists(st.integers(0, 9000), max_size=12)

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(mkdtemp(prefix="spool-"))
        self.waiting: list[Numbered] = []
        self.next = 1
        self.position: str | None = None
        self.known = 0
        self.released = False
        self.spool = self._open()

    def _open(self) -> Spool:
        return opened(self.directory / "spool", most_bytes=40_000)

    def size(self) -> int:
        """Bytes of payload that wait."""
        return sum(len(packet.payload) for packet in self.waiting)

    def teardown(self) -> None:
        self.spool.close()
        shutil.rmtree(self.directory)

    @rule(sizes=sizes, position=st.none() | st.text(max_size=5), behind=st.integers(-2, 30) | st.none())
    def append(self, sizes: list[int], position: str | None, behind: int | None) -> None:
        acknowledged = 0 if behind is None else max(self.next - behind, 0)
        self.waiting = [packet for packet in self.waiting if packet.number > acknowledged]
        packets = [Packed(self.next + i, 2, os.urandom(size)) for i, size in enumerate(sizes)]
        numbered = self.spool.append(packets, position, acknowledged)
        assert numbered == [Numbered(n, p.time, p.payload) for n, p in enumerate(packets, self.next)]
        self.next += len(sizes)
        self.position = self.position if position is None else position
        if self.size() + sum(sizes) > 40_000:
            while self.waiting and self.size() + sum(sizes) > 40_000 - 40_000 // module.DROPPED:
                del self.waiting[0]
        self.waiting += numbered

    @rule(behind=st.integers(-2, 30))
    def acknowledge(self, behind: int) -> None:
        number = max(self.next - behind, 0)
        self.spool.acknowledge(number)
        self.waiting = [packet for packet in self.waiting if packet.number > number]

    @rule(behind=st.integers(-2, 30), most=st.integers(1, 50_000))
    def read(self, behind: int, most: int) -> None:
        number = max(self.next - behind, 0)
        found = self.spool.read(number, most)
        left = [packet for packet in self.waiting if packet.number >= number]
        assert found == left[: len(found)]
        assert bool(found) == bool(left)
        assert len(found) <= 1 or sum(len(packet.payload) for packet in found) <= most
        if len(found) < len(left):
            assert sum(len(packet.payload) for packet in left[: len(found) + 1]) > most

    @rule()
    def release(self) -> None:
        self.spool.release()
        self.released = True

    @rule()
    def restart(self) -> None:
        self.known = self.spool.about.known
        self.released = False
        self.spool.close()
        self.spool = self._open()

    @precondition(lambda self: self.waiting)
    @rule()
    def power_fails(self) -> None:
        copy = self.directory / "copy"
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{self.directory}/spool{suffix}", f"{copy}{suffix}")
        with closing(opened(copy)) as spool:
            assert waiting(spool) == self.waiting

    @invariant()
    def adds_up(self) -> None:
        about = self.spool.about
        assert (about.next, about.position) == (self.next, self.position)
        assert about.first == self.next - len(self.waiting)
        assert about.size == self.size()
        assert about.known == max(self.known, self.next - 1 if self.released else 0)
        assert about.records == 2 * len(self.waiting)
        assert 2 * about.dropped_packets == about.dropped_records


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=80, stateful_step_count=20, deadline=None)
