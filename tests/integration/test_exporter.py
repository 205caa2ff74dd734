"""d4-exporter as a process: real Redis, real datagrams, and each of the two away for a while."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from uuid import UUID, uuid4

import pytest
import redis.asyncio
from receiving import Receiver
from serving import end, own_redis
from waiting import wait_for

from d4common import queue_settings, queues, records, redis_client
from d4common.records import Entry
from d4exporter.daemon import BATCH
from demo.chain import PYTHON, Daemon, environment, free_port

T = TypeVar("T")
SENSOR = uuid4()


class Exporter:
    """A d4-exporter in ``directory``, not yet started, and the Redis from which it takes records."""

    def __init__(self, directory: Path, redis: Path, host: str = "127.0.0.1", sink: str = "") -> None:
        self.redis = redis
        self.port = free_port(socket.SOCK_DGRAM)
        self.config = directory / "one.conf"
        self.config.write_text(
            f"[redis]\nurl = unix://{redis}\n[queue]\ntype = maltrail\nqueue = tests\n"
            f"[sink]\ndestination = {f'[{host}]' if ':' in host else host}:{self.port}\n{sink}"
        )
        command = [PYTHON, "-m", "d4exporter", "--config", str(self.config), "run", "one"]
        self.daemon = Daemon("exporter", command, directory)

    def ask(self, work: Callable[[redis.asyncio.Redis], Awaitable[T]]) -> T:
        """Does something with Redis."""

        async def connected() -> T:
            client = redis_client.connect(f"unix://{self.redis}")
            try:
                return await work(client)
            finally:
                await redis_client.close(client)

        return asyncio.run(connected())

    def make_queue(self) -> None:
        self.ask(lambda client: queues.create_queue(client, "maltrail", "tests"))

    def append(self, *data: bytes, sensor: UUID = SENSOR) -> None:
        """Stores an entry for each."""
        self.ask(lambda client: records.append(client, [Entry(sensor, "maltrail", 0, each) for each in data]))

    def outstanding(self) -> int:
        """Entries that are not acknowledged."""

        async def count(client: redis.asyncio.Redis) -> int:
            found = [await client.xinfo_groups(key) for key in records.streams("maltrail")]
            return sum((group["lag"] or 0) + group["pending"] for groups in found for group in groups)

        return self.ask(count)

    def log(self) -> str:
        """What the exporter said."""
        return self.daemon.log.read_text() if self.daemon.log.exists() else ""


@pytest.fixture
def exporter(tmp_path: Path, redis_socket: Path) -> Iterator[Exporter]:
    """An exporter with an empty queue."""
    exporter = Exporter(tmp_path, redis_socket)
    exporter.make_queue()
    try:
        yield exporter
    finally:
        exporter.daemon.stop()
    assert "Traceback" not in exporter.log()


@pytest.fixture
def receiver(exporter: Exporter) -> Iterator[Receiver]:
    """Whoever listens where the exporter sends."""
    receiver = Receiver(exporter.port)
    yield receiver
    receiver.close()


def test_each_record_becomes_a_datagram_and_is_acknowledged(exporter: Exporter, receiver: Receiver) -> None:
    exporter.append(b"one\ntwo\n", b"\n\n", b"three\n")
    exporter.daemon.start()
    wait_for(lambda: receiver.datagrams == [b"one\n", b"two\n", b"three\n"])
    exporter.append(b"four\n")
    wait_for(lambda: receiver.datagrams[3:] == [b"four\n"])
    wait_for(lambda: exporter.outstanding() == 0)


def test_a_chunk_is_a_datagram_as_it_came(exporter: Exporter, receiver: Receiver) -> None:
    exporter.config.write_text(exporter.config.read_text().replace("[queue]\n", "[queue]\nchunks = yes\n"))
    exporter.append(b"\na\n\n", b"half")
    exporter.daemon.start()
    wait_for(lambda: receiver.datagrams == [b"\na\n\n", b"half"])


def test_without_line_feeds_over_ipv6(tmp_path: Path, redis_socket: Path) -> None:
    exporter = Exporter(tmp_path, redis_socket, "::1", "newline = no\n")
    exporter.make_queue()
    exporter.append(b"one\ntwo\n")
    receiver = Receiver(exporter.port, "::1")
    exporter.daemon.start()
    try:
        wait_for(lambda: receiver.datagrams == [b"one", b"two"])
    finally:
        exporter.daemon.stop()
        receiver.close()
    assert f"to udp [::1]:{exporter.port}" in exporter.log()


def test_nothing_is_acknowledged_until_somebody_listens(exporter: Exporter) -> None:
    exporter.append(*(b"%d\n" % number for number in range(100)))
    exporter.daemon.start()
    wait_for(lambda: "the sink takes nothing" in exporter.log())
    assert exporter.outstanding() == 100
    receiver = Receiver(exporter.port)
    try:
        wait_for(lambda: receiver.numbers() == list(range(100)))
        wait_for(lambda: exporter.outstanding() == 0)
    finally:
        receiver.close()
    assert exporter.log().count("the sink takes nothing") == exporter.log().count("takes records again") == 1
    assert "Connection refused" in exporter.log()


def test_a_receiver_that_is_restarted_loses_nothing(exporter: Exporter) -> None:
    exporter.daemon.start()
    for start in range(0, 300, 100):
        receiver = Receiver(exporter.port)
        exporter.append(*(b"%d\n" % number for number in range(start, start + 50)))
        try:
            wait_for(lambda: set(receiver.numbers()) >= set(range(start, start + 50)))  # noqa: B023
            wait_for(lambda: exporter.outstanding() == 0)
        finally:
            receiver.close()
        exporter.append(*(b"%d\n" % number for number in range(start + 50, start + 100)))
        if start == 200:
            break
        receiver = Receiver(exporter.port)
        try:
            wait_for(lambda: receiver.numbers()[-1:] == [start + 99])  # noqa: B023
            assert set(receiver.numbers()) == set(range(start + 50, start + 100))
        finally:
            receiver.close()


@pytest.mark.parametrize(("how", "again"), [(signal.SIGTERM, 0), (signal.SIGKILL, BATCH)])
def test_a_restart_in_the_middle_loses_nothing(
    exporter: Exporter, receiver: Receiver, how: signal.Signals, again: int
) -> None:
    for start in range(0, 5000, 500):
        exporter.append(*(b"%d\n" % number for number in range(start, start + 500)))
    exporter.daemon.start()
    wait_for(lambda: len(receiver.datagrams) > 300)
    exporter.daemon.stop(how)
    before = exporter.outstanding()
    assert 0 < before < 5000
    exporter.daemon.start()
    wait_for(lambda: exporter.outstanding() == 0)
    wait_for(lambda: 4999 in receiver.numbers())
    times = Counter(receiver.numbers())
    assert set(times) == set(range(5000))
    assert times.total() - 5000 <= again, "no more twice than what was in flight"
    assert list(dict.fromkeys(receiver.numbers())) == list(range(5000)), "in order"


def test_records_of_each_sensor_keep_their_order(exporter: Exporter, receiver: Receiver) -> None:
    sensors = [uuid4() for _ in range(20)]
    exporter.daemon.start()

    async def fill(client: redis.asyncio.Redis) -> None:
        for start in range(0, 100, 10):
            entries = [
                Entry(sensor, "maltrail", 0, b"%d %d\n" % (which, number))
                for number in range(start, start + 10)
                for which, sensor in enumerate(sensors)
            ]
            await records.append(client, entries)

    exporter.ask(fill)
    wait_for(lambda: len(receiver.datagrams) == 2000)
    for which in range(20):
        own = [line.split() for line in receiver.datagrams if line.startswith(b"%d " % which)]
        assert [int(number) for _, number in own] == list(range(100))


def test_a_record_that_fits_no_datagram_is_left_out(exporter: Exporter, receiver: Receiver) -> None:
    exporter.append(b"before\n" + b"x" * 70_000 + b"\nbetween\n", b"y" * 70_000 + b"\n", b"after\n")
    exporter.daemon.start()
    wait_for(lambda: receiver.datagrams == [b"before\n", b"between\n", b"after\n"])
    wait_for(lambda: exporter.outstanding() == 0)
    assert exporter.log().count("fits no datagram") == 1


def test_a_queue_that_is_missing_is_waited_for(tmp_path: Path, redis_socket: Path) -> None:
    exporter = Exporter(tmp_path, redis_socket)
    exporter.daemon.start()
    receiver = Receiver(exporter.port)
    try:
        wait_for(lambda: "no analyzer queue tests" in exporter.log())
        exporter.append(b"one\n")
        exporter.make_queue()
        wait_for(lambda: receiver.datagrams == [b"one\n"])
        assert exporter.log().count("no analyzer queue tests") == 1
    finally:
        exporter.daemon.stop()
        receiver.close()


def test_two_exporters_of_one_queue_share_it(exporter: Exporter, receiver: Receiver, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Daemon(
        "other",
        [PYTHON, "-m", "d4exporter", "--config", str(exporter.config), "run", "other"],
        tmp_path / "other",
    )
    exporter.daemon.start()
    other.start()
    try:
        for start in range(0, 1000, 50):
            exporter.append(*(b"%d\n" % number for number in range(start, start + 50)))
        wait_for(lambda: exporter.outstanding() == 0)
        wait_for(lambda: len(receiver.datagrams) >= 1000)
    finally:
        other.stop()
    assert sorted(receiver.numbers()) == list(range(1000))


def test_redis_may_be_killed_in_the_middle(tmp_path: Path) -> None:
    server, exporter = own_redis(tmp_path), Exporter(tmp_path, tmp_path / "redis.sock")
    receiver = Receiver(exporter.port)
    server.start()
    try:
        exporter.make_queue()
        for start in range(0, 5000, 500):
            exporter.append(*(b"%d\n" % number for number in range(start, start + 500)))
        exporter.daemon.start()
        wait_for(lambda: len(receiver.datagrams) > 300)
        server.stop(signal.SIGKILL)
        wait_for(lambda: "Redis does not" in exporter.log())
        server.start()
        wait_for(lambda: exporter.outstanding() == 0)
        wait_for(lambda: 4999 in receiver.numbers())
        times = Counter(receiver.numbers())
        assert set(times) == set(range(5000))
        assert times.total() - 5000 <= BATCH
        assert list(dict.fromkeys(receiver.numbers())) == list(range(5000)), "in order"
        assert exporter.log().count("Redis is back") == exporter.log().count("Redis does not") == 1
    finally:
        exporter.daemon.stop()
        server.stop()
        receiver.close()
    assert "Traceback" not in exporter.log()


class Cutting:
    """Stands between the exporter and Redis, and cuts the connection instead of passing ``word`` on, once."""

    def __init__(self, path: Path, redis: Path, word: bytes) -> None:
        self.cut = threading.Event()
        self._redis, self._word = redis, word
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Lets nobody in any more."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(str(self._redis))
                threading.Thread(target=self._pass, args=(near, far, b""), daemon=True).start()
                threading.Thread(target=self._pass, args=(far, near, self._word), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, word: bytes) -> None:
        with suppress(OSError), source, target:
            while data := source.recv(1 << 16):
                if word and word in data and not self.cut.is_set():
                    self.cut.set()
                    break
                target.sendall(data)
            for end in (source, target):
                end.shutdown(socket.SHUT_RDWR)


def test_an_answer_that_nobody_got_is_asked_for_again(tmp_path: Path, redis_socket: Path) -> None:
    """Redis counts these entries as given out, and they must not wait until another consumer claims them."""
    exporter = Exporter(tmp_path, redis_socket)
    exporter.make_queue()
    exporter.config.write_text(exporter.config.read_text().replace(str(redis_socket), f"{tmp_path}/cut.sock"))
    cutting = Cutting(tmp_path / "cut.sock", redis_socket, b"precious")
    receiver = Receiver(exporter.port)
    exporter.daemon.start()
    try:
        exporter.append(b"first\n")
        wait_for(lambda: receiver.datagrams == [b"first\n"])
        exporter.append(b"precious\n")
        wait_for(cutting.cut.is_set)
        exporter.append(b"last\n")
        wait_for(lambda: receiver.datagrams == [b"first\n", b"precious\n", b"last\n"])
    finally:
        exporter.daemon.stop()
        receiver.close()
        cutting.close()


@pytest.mark.parametrize(
    ("redis_path", "queue", "words"),
    [
        (Path("/nonexistent/redis.sock"), False, "Redis does not"),
        (None, False, "no analyzer queue"),
        (None, True, "takes nothing"),
    ],
    ids=["Redis away", "queue missing", "sink down"],
)
def test_a_stop_is_quick_whatever_is_away(
    tmp_path: Path, redis_socket: Path, redis_path: Path | None, queue: bool, words: str
) -> None:
    exporter = Exporter(tmp_path, redis_path or redis_socket)
    if queue:
        exporter.make_queue()
        exporter.append(b"one\n")
    exporter.daemon.start()
    wait_for(lambda: words in exporter.log())
    status, seconds = end(exporter.daemon)
    assert (status, seconds < 2) == (0, True)
    assert "Traceback" not in exporter.log()
    assert not queue or exporter.outstanding() == 1


def test_a_broken_configuration_starts_nothing_and_says_all(tmp_path: Path) -> None:
    path = tmp_path / "one.conf"
    path.write_text("[queue]\ntype = maltrail\n[sink]\ndestination = host:0\nnewline = perhaps\n")
    for action in (["run"], ["config", "check"], ["config", "show"]):
        command = [PYTHON, "-m", "d4exporter", "--config", str(path), *action, "one"]
        result = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=30)
        assert (result.returncode, result.stdout) == (78, "")
        assert f"{path}:4: [sink] destination = host:0" in result.stderr
        assert f"{path}:5: [sink] newline = perhaps: must be yes or no" in result.stderr
        assert "[queue] must set type and queue" in result.stderr
        assert "Traceback" not in result.stderr


def test_a_paused_queue_is_exported_when_it_goes_on(exporter: Exporter, receiver: Receiver) -> None:
    exporter.ask(lambda client: queue_settings.change(client, "tests", paused=1))
    exporter.append(b"one\n")
    exporter.daemon.start()
    wait_for(lambda: "the analyzer queue is paused by an administrator" in exporter.log())
    status, seconds = end(exporter.daemon)
    assert (status, exporter.outstanding()) == (0, 1) and seconds < 3
    exporter.daemon.start()
    wait_for(lambda: exporter.log().count("is paused by an administrator") == 2)
    exporter.ask(lambda client: queue_settings.change(client, "tests", paused=0))
    wait_for(lambda: receiver.datagrams == [b"one\n"])
    assert "the analyzer queue gives records again" in exporter.log()
