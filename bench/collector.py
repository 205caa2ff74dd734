"""maltrail-collector's intake. ``collector.intake``: the most events/s of 150 bytes that it loses none of.

Two processes, the sender and the collector, on loopback. The sender keeps an even pace (bursts of a
millisecond) for SECONDS; a pace counts if every event is in the log in the end. The pace doubles until one
is too much, or more than the sender can do, and the limit is then closed in on. The kernel's buffer for the
socket is what ``net.core.rmem_max`` allows, at most 8 MB, so it evens out moments, not the whole run.
"""

from __future__ import annotations

import os
import socket
import tempfile
import time
from pathlib import Path

from bench.figure import show
from d4common.event import Event
from demo.chain import PYTHON, Daemon, free_port

SECONDS = 3.0
FIRST_PACE = 25_000
CLOSE = 1.05
"""The figure is this near, as a ratio, to a pace at which something was lost."""

BURST = 0.001
PATIENCE = 1.0
"""Seconds without a new event in the log after which the rest counts as lost."""


def main() -> None:
    """Measures and prints."""
    with tempfile.TemporaryDirectory(prefix="d4-bench-") as name:
        directory = Path(name)
        port = free_port(socket.SOCK_DGRAM)
        collector = start(directory, port)
        try:
            best, worst = bracket(directory, port)
            while worst / best > CLOSE:
                pace = (best * worst) ** 0.5
                if lossless(directory, port, pace):
                    best = pace
                else:
                    worst = pace
        finally:
            collector.stop()
    show("collector.intake", best, "events/s", bytes=150, seconds=SECONDS, cores=os.cpu_count())


def start(directory: Path, port: int) -> Daemon:
    """A collector that keeps its log in ``directory``."""
    config = directory / "collector.conf"
    config.write_text(
        f"[udp]\nudp_port = {port}\n[log]\nlog_dir = {directory}\n"
        f"[web]\nhttp_port = {free_port()}\nstate_dir = {directory}\n"
    )
    command = [PYTHON, "-m", "maltrailcollector", "--config", str(config), "run"]
    daemon = Daemon("collector", command, directory / "said")
    (directory / "said").mkdir()
    daemon.start()
    return daemon


def bracket(directory: Path, port: int) -> tuple[float, float]:
    """A pace at which nothing is lost, and one of twice as much at which something is."""
    pace: float = FIRST_PACE
    while lossless(directory, port, pace):
        pace *= 2
    return pace / 2, pace


def lossless(directory: Path, port: int, pace: float) -> bool:
    """Whether all events are stored that are sent at ``pace`` events/s; False too if it cannot be kept."""
    for log in directory.glob("*-*-*.log"):
        log.unlink()
    sent = send(port, pace)
    return sent >= 0.99 * pace * SECONDS and stored(directory, sent) == sent


def send(port: int, pace: float) -> int:
    """Sends for SECONDS, evenly, and says how many events that were."""
    datagrams = events()
    sent = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", port))
        began = time.perf_counter()
        while (passed := time.perf_counter() - began) < SECONDS:
            for _ in range(int(passed * pace) - sent):
                sender.send(datagrams[sent % len(datagrams)])
                sent += 1
            time.sleep(BURST)
    return sent


def events() -> list[bytes]:
    """Events as a sensor sends them, of many hosts that ask for many names."""
    now = int(time.time())
    return [
        Event(
            sec=now,
            usec=number,
            sensor="sensor-1",
            src_ip=f"10.0.{number >> 6 & 255}.{number & 63}",
            src_port=str(32768 + number % 28000),
            dst_ip=f"192.0.2.{number % 16}",
            dst_port="53",
            proto="UDP",
            type="DNS",
            trail=f"(cdn).name-{number:05}.example.org",
            info="a malware family (malware)",
            reference="(static)",
        ).wire()
        for number in range(16384)
    ]


def stored(directory: Path, sent: int) -> int:
    """The events in the logs, when all of them are there or no more come."""
    count, changed = 0, time.monotonic()
    while count < sent and time.monotonic() - changed < PATIENCE:
        before = count
        count = sum(log.read_bytes().count(b"\n") for log in directory.glob("*-*-*.log"))
        if count != before:
            changed = time.monotonic()
        time.sleep(0.05)
    return count


if __name__ == "__main__":
    main()
