"""Sources of d4-sensor as processes, and a real d4-server: what goes in is stored, once and in order."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

import delivering
import pcapy
import pytest
from conftest import Certificates
from serving import KEY, Server, end
from waiting import wait_for

from d4common.client import Client
from d4common.config import Endpoint
from d4common.outbox import MemoryOutbox
from demo.chain import PYTHON, Daemon, environment

root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


class Site:
    """A host with sources: its sensor.conf, its sources.d, and the server that it sends to."""

    def __init__(self, directory: Path, server: Server) -> None:
        self.directory = directory
        self.server = server
        self.uuid: UUID = server.sensor()
        self.started: list[Daemon] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        self.config = directory / "sensor.conf"
        self.config.write_text(
            f"[d4]\ndestination = 127.0.0.1:{server.port}\nca = {server.ca}\n"
            f"uuid = {self.uuid}\nkey = {KEY.decode()}\n[spool]\npath = {directory}/spool\n"
        )
        (directory / "sources.d").mkdir()

    def command(self, *arguments: str) -> list[str]:
        """A `d4-sensor send`."""
        return [PYTHON, "-m", "d4sensor", "--config", str(self.config), "send", *arguments]

    def describe(self, name: str, text: str) -> None:
        """Writes the file of a source."""
        (self.directory / "sources.d" / f"{name}.conf").write_text(f"[source]\n{text}\n")

    def source(self, name: str, text: str) -> Daemon:
        """A source, not yet started."""
        self.describe(name, text)
        self.started.append(Daemon(name, self.command(name), self.directory))
        return self.started[-1]

    def send(self, input: bytes | None, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """What becomes of a command that comes to its end."""
        return subprocess.run(
            self.command(*arguments), env=environment(), input=input, capture_output=True, timeout=60
        )

    def lines(self, type: str = "3") -> list[bytes]:
        """What the server has."""
        return self.server.lines(self.uuid, type)


@pytest.fixture
def server(tmp_path: Path, redis_socket: Path) -> Iterator[Server]:
    made = Server(tmp_path, redis_socket)
    made.daemon.start()
    try:
        yield made
    finally:
        made.daemon.stop()


@pytest.fixture
def site(tmp_path: Path, server: Server) -> Iterator[Site]:
    made = Site(tmp_path, server)
    yield made
    for each in made.started:
        each.stop()
    for process in made.processes:
        process.kill()
        process.communicate()


def numbered(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(1, count + 1)]


def test_what_is_piped_in_arrives(site: Site) -> None:
    command = f"seq 1 100000 | {' '.join(site.command('--type', '3'))}"
    done = subprocess.run(command, shell=True, env=environment(), capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert site.lines() == numbered(100_000)


def test_bytes_that_are_piped_in_arrive_as_they_are(site: Site) -> None:
    content = bytes(range(256)) * 4000
    done = site.send(content, "--type", "1")
    assert done.returncode == 0, done.stderr
    assert b"".join(site.server.entries(site.uuid, "1")) == content


def test_lines_with_a_meta_header_arrive_as_its_type(site: Site) -> None:
    done = site.send(b"an event", "--type", "254", "--metaheader", '{"type":"maltrail"}')
    assert done.returncode == 0, done.stderr
    assert site.lines("maltrail") == [b"an event"]


def test_what_a_stop_leaves_unsent_is_told(site: Site) -> None:
    site.server.daemon.stop()
    process = subprocess.Popen(
        site.command("--type", "3"), env=environment(), stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None and process.stderr is not None
    process.stdin.write(b"one\ntwo\n")
    process.stdin.flush()
    while b"cannot be reached" not in process.stderr.readline():
        pass
    process.terminate()
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert said.endswith(b"1 packets were not sent\n")


def test_what_a_stop_leaves_in_a_spool_is_sent_by_the_next_start(site: Site) -> None:
    site.server.daemon.stop()
    site.describe("input", "kind = stdin\ntype = 3")
    process = subprocess.Popen(
        site.command("input"), env=environment(), stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None and process.stderr is not None
    process.stdin.write(b"one\ntwo\n")
    process.stdin.flush()
    while b"cannot be reached" not in process.stderr.readline():
        pass
    process.terminate()
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1 and said.endswith(b"1 packets were not sent, and wait in the spool\n")
    site.server.daemon.start()
    assert site.send(b"three\n", "input").returncode == 0
    assert site.lines() == [b"one", b"two", b"three"]


class Writer(threading.Thread):
    """Writes numbered lines to a log, which it renames and begins anew every ``rotate`` lines."""

    def __init__(self, path: Path, count: int, rotate: int) -> None:
        super().__init__()
        self._path = path
        self._count = count
        self._rotate = rotate
        self.written = 0

    def run(self) -> None:
        log = self._path.open("ab", buffering=0)
        for number in range(1, self._count + 1):
            if number % self._rotate == 0:
                log.close()
                self._path.rename(f"{self._path}.{self._count - number}")
                log = self._path.open("ab", buffering=0)
            log.write(b"%d\n" % number)
            self.written = number
            if number % 100 == 0:
                time.sleep(0.02)  # so that it takes as long as the source is being killed
        log.close()


@pytest.mark.parametrize("rotate", [10**9, 7_000])
def test_a_file_that_is_rotated_arrives_exactly_though_its_source_is_killed(site: Site, rotate: int) -> None:
    log = site.directory / "app.log"
    source = site.source("log", f"kind = file\ntype = 3\npath = {log}")
    writer = Writer(log, 40_000, rotate)
    writer.start()
    for _ in range(10):
        before = len(site.lines())
        source.start()
        wait_for(lambda: len(site.lines()) > before or before == 40_000)  # noqa: B023
        source.stop(signal.SIGKILL)
    writer.join()
    source.start()
    wait_for(lambda: len(site.lines()) >= 40_000, timeout=90)
    assert end(source)[0] == 0
    assert site.lines() == numbered(40_000)


def test_a_folder_arrives_exactly_though_its_source_is_killed(site: Site) -> None:
    folder = site.directory / "folder"
    folder.mkdir()
    source = site.source("folder", f"kind = folder\ntype = 3\npath = {folder}\nsettle = 10ms")
    for number in range(30):
        text = b"".join(b"%d\n" % (number * 1000 + line) for line in range(1, 1001))
        (folder / ".draft").write_bytes(text)
        os.utime(folder / ".draft", (number, number))
        (folder / ".draft").rename(folder / f"{number}")
        if number % 6 == 5:
            source.start()
            wait_for(lambda: len(site.lines()) > number * 900)  # noqa: B023
            source.stop(signal.SIGKILL)
    source.start()
    wait_for(lambda: len(site.lines()) >= 30_000)
    assert end(source)[0] == 0
    assert sorted(map(int, site.lines())) == list(range(1, 30_001))


def started_by_socket(site: Site, name: str, listening: socket.socket) -> subprocess.Popen[bytes]:
    """A source that gets a socket as systemd hands it over."""
    process = subprocess.Popen(
        ["sh", "-c", 'exec 3<&0 </dev/null; LISTEN_PID=$$ exec "$@"', "sh", *site.command(name)],
        env={**environment(), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "lines"},
        stdin=listening.fileno(),
        stderr=subprocess.PIPE,
    )
    site.processes.append(process)
    return process


def wait_until_reading(process: subprocess.Popen[bytes]) -> None:
    """Until then a signal ends it at once."""
    assert process.stderr is not None
    while b"Sending" not in process.stderr.readline():
        assert process.poll() is None


def test_a_socket_that_systemd_holds(site: Site) -> None:
    """Writers need not know of restarts: what they wrote before a stop, and between, arrives."""
    site.describe("lines", "kind = unix\ntype = 3")
    sent = []
    with TemporaryDirectory(prefix="source-") as name, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{name}/socket")
        listening.listen()
        for round in range(3):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(f"{name}/socket")
                process = started_by_socket(site, "lines", listening)
                batch = [b"%d %d" % (round, number) for number in range(20_000)]
                client.sendall(b"".join(line + b"\n" for line in batch))
                sent += batch
            wait_until_reading(process)
            process.terminate()
            _, said = process.communicate(timeout=30)
            assert process.returncode == 0, said
        process = started_by_socket(site, "lines", listening)
        wait_for(lambda: len(site.lines()) == len(sent))
        process.terminate()
        process.communicate(timeout=30)
    assert site.lines() == sent


def test_a_socket_that_is_missing_is_named(site: Site) -> None:
    site.describe("lines", "kind = unix\ntype = 3")
    done = site.send(None, "lines")
    assert done.returncode == 1
    assert b"systemctl enable --now d4-source@lines.socket" in done.stderr


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[list[str]]:
    """A systemd-journald of the test's own; the words that run a command where it is the system's."""
    mounts = "mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/log && mkdir -p /run/systemd/journal"
    command = f"{mounts} && exec /lib/systemd/systemd-journald"
    daemon = subprocess.Popen(["unshare", "-m", "sh", "-c", command], stderr=subprocess.DEVNULL)
    inside = ["nsenter", "-m", "-t", str(daemon.pid)]
    try:
        wait_for(
            lambda: not subprocess.run([*inside, "test", "-S", "/run/systemd/journal/socket"]).returncode
        )
        yield inside
    finally:
        daemon.terminate()
        daemon.wait(10)


def entries(lines: list[bytes]) -> list[dict[str, object]]:
    """Entries of a journal that a test has made, but for fields that depend on who asks."""
    found = [json.loads(line) for line in lines]
    return [entry for entry in found if "NUMBER" in entry]


LOG = """
import sys
from systemd import journal
for number in range(int(sys.argv[1]), int(sys.argv[2])):
    text = f"entry {number}\\nwith two lines, äöü"
    journal.send(text, NUMBER=str(number), BINARY=b"\\xff\\0", PRIORITY=number % 8)
"""


@root
def test_a_journal_arrives_as_journalctl_shows_it_though_its_source_is_killed(
    site: Site, journald: list[str]
) -> None:
    source = Daemon("journal", [*journald, *site.command("journal")], site.directory)
    site.describe("journal", "kind = journal")
    site.started.append(source)

    def write(first: int, last: int) -> None:
        subprocess.run([*journald, PYTHON, "-c", LOG, str(first), str(last)], check=True)

    write(0, 100)  # before the first start: not sent
    for round in range(1, 6):
        source.start()
        if round == 1:
            wait_for(lambda: "connected" in source.log.read_text())
        write(round * 1000, round * 1000 + 500)
        wait_for(lambda: len(entries(site.lines("6"))) > (round - 1) * 500)  # noqa: B023
        source.stop(signal.SIGKILL)
    source.start()
    wait_for(lambda: len(entries(site.lines("6"))) >= 2500)
    shown = subprocess.run([*journald, "journalctl", "-o", "json", "--all"], capture_output=True).stdout
    assert entries(site.lines("6")) == entries(shown.splitlines())[100:]


@root
def test_of_a_journal_only_what_matches_is_sent(site: Site, journald: list[str]) -> None:
    source = Daemon("journal", [*journald, *site.command("journal")], site.directory)
    site.describe("journal", "kind = journal\ntype = 3\npriority = 3\nmatch = NUMBER=10 NUMBER=11 NUMBER=15")
    site.started.append(source)
    source.start()
    wait_for(lambda: "connected" in source.log.read_text())
    subprocess.run([*journald, PYTHON, "-c", LOG, "0", "100"], check=True)
    wait_for(lambda: len(site.lines()) == 2)
    assert [entry["NUMBER"] for entry in entries(site.lines())] == ["10", "11"]


@root
def test_frames_of_an_interface_arrive_as_a_capture_over_restarts(site: Site) -> None:
    """But not those that bring them to the server: what is captured would grow by being sent."""
    source = site.source("frames", f"kind = pcap\ninterface = lo\nfilter = port 9 or port {site.server.port}")
    path = site.directory / "frames.pcap"
    sent = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for round in range(3):
            source.start()
            wait_for(lambda: source.log.read_text().count("is being captured") > round)  # noqa: B023
            for number in range(500):
                sent.append(b"datagram %d of %d" % (number, round))
                client.sendto(sent[-1].ljust(1000), ("127.0.0.1", 9))
            wait_for(lambda: len(captured(site, path)) >= len(sent))
            assert end(source)[0] == 0
    assert captured(site, path) == sent


def captured(site: Site, path: Path) -> list[bytes]:
    """The UDP payloads of frames at the server, which libpcap reads as one file."""
    path.write_bytes(b"".join(site.server.entries(site.uuid, "1")))
    if not path.stat().st_size:
        return []
    reader, found = pcapy.open_offline(str(path)), []
    while (packet := reader.next())[1]:
        assert packet[1][23] == socket.IPPROTO_UDP
        if packet[1][36:38] == b"\0\x09":
            found.append(packet[1][42:].rstrip())
    reader.close()
    return found


@pytest.fixture
def goclient(site: Site) -> Path:
    """A configuration directory as d4-goclient has one."""
    directory = site.directory / "conf"
    directory.mkdir()
    files = {"source": "stdin", "destination": f"127.0.0.1:{site.server.port}", "uuid": str(site.uuid)}
    files |= {"key": KEY.decode(), "type": "3", "snaplen": "4096", "version": "1"}
    for name, text in files.items():
        (directory / name).write_text(text + "\n")
    return directory


def test_a_directory_of_goclient_is_read_as_it_is(site: Site, goclient: Path) -> None:
    (goclient / "rootCA.crt").write_bytes(site.server.ca.read_bytes())
    flags = ["-cc", "-ce=true", "-ct", "5m", "-cka", "30s", "-rt", "30s", "-rl", "200ms", "-v"]
    done = site.send(b"one\ntwo\n", "-c", str(goclient), *flags)
    assert done.returncode == 0, done.stderr
    assert b"without effect here: -cc, -ct, -cka, -rt, -rl, -v\n" in done.stderr
    assert site.lines() == [b"one", b"two"]


def test_a_server_that_is_not_to_be_verified_must_be_said_to_be(site: Site, goclient: Path) -> None:
    done = site.send(b"one\n", "-c", str(goclient))
    assert done.returncode == 78
    assert b"rootCA.crt is not there" in done.stderr and b"--insecure" in done.stderr
    assert site.send(b"one\n", "-c", str(goclient), "--insecure").returncode == 0
    assert site.send(b"two\n", "-c", str(goclient), "--ca", str(site.server.ca)).returncode == 0
    assert site.lines() == [b"one", b"two"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "one of NAME, --type N and -c DIR"),
        (["name", "--type", "3"], "one of NAME, --type N and -c DIR"),
        (["name", "--ca", "/x"], "described by its file"),
        (["../name"], "is no name of a source"),
        (["--type", "9"], "must be one of"),
        (["--show", "--type", "3"], "--show is for a source"),
        (["-c", "/x", "-ce=false"], "over TLS only"),
        (["-c", "/x", "-daily"], "-daily"),
        (["-c", "/x", "--metaheader", '{"type":"x"}'], "metaheader.json"),
        (["-c", "/nonexistent"], "is not a directory"),
        (["--type", "254"], "type = 254 and metaheader go together"),
        (["missing"], "missing.conf: cannot be read: No such file"),
    ],
)
def test_what_cannot_be_sent_is_told(tmp_path: Path, arguments: list[str], reason: str) -> None:
    (tmp_path / "sensor.conf").touch()
    done = subprocess.run(
        [PYTHON, "-m", "d4sensor", "--config", str(tmp_path / "sensor.conf"), "send", *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode in (2, 78) and reason in done.stderr
    assert "Traceback" not in done.stderr


def test_a_source_can_be_shown(tmp_path: Path) -> None:
    (tmp_path / "sources.d" / "log.conf.d").mkdir(parents=True)
    (tmp_path / "sources.d" / "log.conf").write_text("[source]\nkind = file\ntype = 3\npath = /var/log/x\n")
    (tmp_path / "sources.d" / "log.conf.d" / "site.conf").write_text("[source]\nsnaplen = 4096\n")
    command = [PYTHON, "-m", "d4sensor", "--config", str(tmp_path / "sensor.conf"), "send", "--show", "log"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"# {tmp_path}/sources.d/log.conf.d/site.conf:2\nsnaplen = 4096\n" in done.stdout


def test_a_capture_begins_with_its_header_on_each_connection_of_plain_d4(certificates: Certificates) -> None:
    async def test() -> None:
        server = delivering.Server(certificates)
        await server.start()
        outbox = MemoryOutbox(10**6, 100)
        sender = replace(delivering.SENDER, preamble=lambda: b"the header\n")
        context = delivering.trusting(certificates)
        client = Client(sender, outbox, [Endpoint("127.0.0.1", server.port)], context, lambda state: None)
        running = asyncio.create_task(client.run())
        outbox.put(b"the header\n")
        outbox.put(b"a frame\n")
        await outbox.empty()
        await server.stop()
        outbox.put(b"another\n")
        await server.start()
        await outbox.empty()
        client.stop()
        await running
        await server.stop()
        assert server.received == [b"the header", b"a frame", b"the header", b"another"]

    delivering.run(test)
