"""A daemon's life as its service manager sees it: a real process, its notifications, signals and sockets."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from waiting import wait_for

from d4common import service

DAEMON = """
import asyncio, sys
from d4common import journal, service

reloads = 0

def reload():
    global reloads
    reloads += 1
    if "broken-reload" in sys.argv:
        raise RuntimeError("not today")
    return f"Reloaded {reloads}"

async def main(service):
    service.ready("Serving", reload)
    service.status("Busy")
    await service.stopping.wait()
    if "slow" in sys.argv:
        print("stopping", flush=True)
        await asyncio.sleep(60)
    print("stopped in order", flush=True)

journal.start("d4-test")
service.run(main)
"""

SOCKETS = """
import fcntl, os, sys
from d4common.service import inherited_sockets

pid, names, *given = sys.argv[1:]
# systemd passes sockets from descriptor 3 on, and says to which process.
for number, fd in enumerate([fcntl.fcntl(int(fd), fcntl.F_DUPFD, 100) for fd in given]):
    os.dup2(fd, 3 + number)
os.environ.update(LISTEN_PID=pid or str(os.getpid()), LISTEN_FDS=str(len(given)), LISTEN_FDNAMES=names)

for name in ("d4", "web", "d4", "none"):
    for one in inherited_sockets(name):
        print(name, one.getsockname()[1], one.getblocking())
"""

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(service.__file__).parents[1])}
for variable in [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
]:
    ENVIRONMENT.pop(variable, None)


class Manager:
    """What systemd is to a service: starts it, and hears its notifications."""

    def __init__(self, directory: Path) -> None:
        self.said: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(directory / "notify"))
        self._socket.setblocking(False)
        self._path = str(directory / "notify")
        self.process: subprocess.Popen[str] | None = None

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        self.process = subprocess.Popen(
            [sys.executable, "-c", DAEMON, *arguments],
            env={**ENVIRONMENT, "NOTIFY_SOCKET": self._path, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return self.process

    def hears(self, text: str) -> None:
        """Waits for a notification."""
        wait_for(lambda: text in self.heard())

    def heard(self) -> list[str]:
        """All notifications up to now."""
        while True:
            try:
                self.said.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return self.said

    def close(self) -> None:
        self._socket.close()
        if self.process is not None:
            self.process.kill()
            self.process.communicate()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path)
    yield manager
    manager.close()


READY = "READY=1\nSTATUS=Serving"
STOPPING = "STOPPING=1\nSTATUS=Stopping"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_daemon_says_that_it_serves_and_stops_in_order(manager: Manager, number: signal.Signals) -> None:
    daemon = manager.start()
    manager.hears("STATUS=Busy")
    daemon.send_signal(number)
    assert daemon.communicate(timeout=10) == ("stopped in order\n", "d4-test: INFO: Serving\n")
    assert daemon.returncode == 0
    assert manager.heard() == [READY, "STATUS=Busy", STOPPING]


def test_second_signal_ends_the_daemon_at_once(manager: Manager) -> None:
    daemon = manager.start("slow")
    manager.hears("STATUS=Busy")
    daemon.terminate()
    manager.hears(STOPPING)
    daemon.terminate()
    assert daemon.wait(10) == 1


def test_reload_is_announced_and_done(manager: Manager) -> None:
    daemon = manager.start()
    manager.hears("STATUS=Busy")
    for number in (1, 2):
        daemon.send_signal(signal.SIGHUP)
        manager.hears(f"READY=1\nSTATUS=Reloaded {number}")
    daemon.terminate()
    _, errors = daemon.communicate(timeout=10)
    reloading = [said.split("\n")[0] for said in manager.heard()[2:]]
    assert reloading == ["RELOADING=1", "READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]
    assert "d4-test: INFO: Reloaded 2" in errors


def test_reload_that_fails_leaves_the_daemon_serving(manager: Manager) -> None:
    daemon = manager.start("broken-reload")
    manager.hears("STATUS=Busy")
    daemon.send_signal(signal.SIGHUP)
    wait_for(lambda: manager.heard()[-1].startswith("READY=1"))
    daemon.terminate()
    _, errors = daemon.communicate(timeout=10)
    assert daemon.returncode == 0 and "not today" in errors


def test_watchdog_hears_twice_in_its_time(manager: Manager) -> None:
    manager.start(WATCHDOG_USEC="40000")
    wait_for(lambda: manager.heard().count("WATCHDOG=1") >= 5)


def test_watchdog_of_this_process_alone_is_fed(manager: Manager) -> None:
    daemon = manager.start(WATCHDOG_USEC="1000", WATCHDOG_PID="1")
    manager.hears("STATUS=Busy")
    daemon.terminate()
    daemon.communicate(timeout=10)
    assert "WATCHDOG=1" not in manager.heard()


@pytest.mark.parametrize("notify", ["", "/nonexistent/notify"])
def test_daemon_runs_without_a_service_manager(manager: Manager, notify: str) -> None:
    daemon = manager.start(NOTIFY_SOCKET=notify)
    assert daemon.stderr is not None
    assert daemon.stderr.readline() == "d4-test: INFO: Serving\n"
    daemon.terminate()
    assert daemon.communicate(timeout=10)[0] == "stopped in order\n"
    assert daemon.returncode == 0


def pass_sockets(names: str, pid: str = "") -> tuple[str, list[int]]:
    """What a process prints that was given three sockets as systemd passes them, and their ports."""
    listening = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    try:
        given = [one.fileno() for one in listening]
        command = [sys.executable, "-c", SOCKETS, pid, names, *map(str, given)]
        output = subprocess.check_output(command, env=ENVIRONMENT, pass_fds=given, text=True)
        return output, [one.getsockname()[1] for one in listening]
    finally:
        for one in listening:
            one.close()


def test_inherited_sockets_are_found_by_name_each_time() -> None:
    output, (first, second, third) = pass_sockets("d4:web:d4")
    d4 = f"d4 {first} False\nd4 {third} False\n"
    assert output == f"{d4}web {second} False\n{d4}"


def test_sockets_of_another_process_are_not_ours() -> None:
    assert pass_sockets("d4:web:d4", pid="1")[0] == ""


def test_no_sockets_are_inherited_without_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LISTEN_FDS", raising=False)
    assert service.inherited_sockets("d4") == []


def test_cancel_insists_with_a_task_that_takes_no_notice() -> None:
    async def stubborn() -> None:
        for _ in range(2):
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
        await asyncio.sleep(60)

    async def test() -> None:
        tasks = [asyncio.create_task(stubborn()), asyncio.create_task(asyncio.sleep(0))]
        await asyncio.wait_for(service.cancel(*tasks), 10)
        assert tasks[0].cancelled() and tasks[1].done()

    asyncio.run(test())


@pytest.mark.parametrize("status", [1, 3])
def test_end_says_why_on_standard_error(capsys: pytest.CaptureFixture[str], status: int) -> None:
    with pytest.raises(SystemExit) as ended:
        service.end("sensor.conf:3: no", status)
    assert ended.value.code == status
    assert capsys.readouterr() == ("", "sensor.conf:3: no\n")
