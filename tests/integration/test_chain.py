"""From a capture file to the collector's log, through all four daemons and a real Redis."""

from __future__ import annotations

import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from waiting import wait_for

from demo.chain import PYTHON, TREE, Chain, Daemon, environment
from demo.demo import EXPECTED, SAMPLE, TRAILS, essence

EXPECTED_EVENTS = Counter(EXPECTED.read_text().splitlines())
REPLAY = ["replay", str(SAMPLE), *(word for path in TRAILS for word in ("--trails", str(path)))]


@pytest.fixture
def chain() -> Iterator[Chain]:
    """The running chain. No daemon has logged a traceback in the end."""
    with TemporaryDirectory(prefix="d4-test-") as directory:
        with Chain(Path(directory)) as chain:
            yield chain
        for daemon in (chain.server, chain.exporter, chain.collector):
            assert "Traceback" not in daemon.log.read_text()


def logged(chain: Chain) -> list[str]:
    """The lines of the collector's logs."""
    return [line for path in sorted(chain.events.glob("*.log")) for line in path.read_text().splitlines()]


def arrived(chain: Chain) -> Counter[str]:
    """The events in the collector's log, without their times and sensor."""
    return Counter(essence(line) for line in logged(chain))


def replay(chain: Chain) -> None:
    """Sends the events of the sample."""
    chain.run("d4sensor", "sensor", *REPLAY, "--send", "--timestamps", "wallclock")


def times(number: int) -> Counter[str]:
    """The events of so many replays."""
    return Counter({event: number * count for event, count in EXPECTED_EVENTS.items()})


def test_the_demonstration_succeeds() -> None:
    command = [PYTHON, "-m", "demo.demo", "--once"]
    result = subprocess.run(command, cwd=TREE, env=environment(), capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith(f"{len(EXPECTED_EVENTS)} of {len(EXPECTED_EVENTS)} events arrived\n")


def test_each_daemon_may_be_restarted_or_killed_in_between(chain: Chain) -> None:
    replay(chain)
    wait_for(lambda: arrived(chain) == times(1))
    replays = 1
    for how in (signal.SIGTERM, signal.SIGKILL):
        for daemon in (chain.redis, chain.server, chain.exporter, chain.collector):
            daemon.stop(how)
            daemon.start()
            replay(chain)
            replays += 1
            wait_for(lambda: arrived(chain).total() >= times(replays).total())  # noqa: B023
            assert arrived(chain) == times(replays), "each exactly once"


def test_what_happens_while_a_daemon_is_away_arrives_when_it_is_back(chain: Chain) -> None:
    # Each daemon, and how to know that its absence is felt.
    absences: list[tuple[Daemon, Callable[[subprocess.Popen[bytes]], bool]]] = [
        (chain.redis, lambda _: "Redis does not" in chain.server.log.read_text()),
        (chain.server, lambda replaying: replaying.poll() is None),
        (chain.exporter, lambda replaying: replaying.poll() == 0),
        (chain.collector, lambda _: "takes nothing" in chain.exporter.log.read_text()),
    ]
    for replays, (daemon, felt) in enumerate(absences, 1):
        daemon.stop()
        command = chain.command("d4sensor", "sensor", *REPLAY, "--send", "--timestamps", "wallclock")
        replaying = subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL)
        try:
            wait_for(lambda: felt(replaying))  # noqa: B023
            assert arrived(chain) == times(replays - 1)
            daemon.start()
            wait_for(lambda: arrived(chain) == times(replays))  # noqa: B023
            assert replaying.wait(20) == 0
        finally:
            replaying.kill()
            replaying.wait()
