"""From a socket to the log."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from collecting import an_event

from d4common.config import Endpoint
from maltrailcollector import intake
from maltrailcollector.check import Reason
from maltrailcollector.daylog import DayLog, day_of
from maltrailcollector.intake import Intake

DAY = 86400.0


@pytest.fixture
def udp() -> Iterator[socket.socket]:
    with closing(intake.bind(Endpoint("127.0.0.1", 0))) as bound:
        yield bound


def send(udp: socket.socket, *datagrams: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for datagram in datagrams:
            sender.sendto(datagram, udp.getsockname())


def test_accepted_lines_are_in_the_log_of_their_day_in_order(udp: socket.socket, tmp_path: Path) -> None:
    taking = Intake(DayLog(tmp_path), 30 * DAY)
    now = int(time.time())
    events = [an_event(sec=now - 86400 * (number % 3), usec=number) for number in range(30)]
    send(udp, *(seen.wire() for seen in events))
    assert taking.take(udp) == 30
    assert taking.take(udp) == 0
    assert taking.stored == 30
    for age in range(3):
        expected = [seen.line() + "\n" for seen in events if seen.sec == now - 86400 * age]
        assert (tmp_path / f"{day_of(now - 86400 * age)}.log").read_text() == "".join(expected)


def test_one_turn_takes_no_more_than_a_batch(
    udp: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "BATCH", 3)
    send(udp, *[an_event().wire()] * 4)
    taking = Intake(DayLog(tmp_path), DAY)
    assert [taking.take(udp), taking.take(udp), taking.take(udp)] == [3, 1, 0]


def test_what_is_refused_is_counted_by_reason_and_a_sample_logged(
    udp: socket.socket, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    taking = Intake(DayLog(tmp_path), DAY)
    send(udp, b"junk", b"more\njunk", an_event(type="XSS").wire(), b"x" * 9000, an_event(usec=1).wire())
    with caplog.at_level(logging.WARNING):
        taking.take(udp)
    assert taking.refused == {Reason.FIELDS: 2, Reason.TYPE: 1, Reason.SIZE: 1}
    assert taking.stored == 1
    assert [record.__dict__["D4_REASON"] for record in caplog.records] == ["fields", "type", "size"]
    assert "b'junk'" in caplog.text
    assert all(len(record.getMessage()) < 500 for record in caplog.records)


def test_max_age_and_tomorrow_are_the_limits_of_time(udp: socket.socket, tmp_path: Path) -> None:
    taking = Intake(DayLog(tmp_path), 3600)
    now = int(time.time())
    send(udp, *(an_event(sec=now + offset).wire() for offset in (-3700, -3500, 86300, 86500)))
    taking.take(udp)
    assert (taking.stored, taking.refused[Reason.TIME]) == (2, 2)


def test_the_kernel_says_what_it_dropped(udp: socket.socket) -> None:
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    assert intake.kernel_drops(udp) == 0
    send(udp, *[b"x" * 1000] * 100)
    held = 0
    with pytest.raises(BlockingIOError):
        while True:
            udp.recv(2000)
            held += 1
    assert intake.kernel_drops(udp) == 100 - held > 0


def test_ipv6_too() -> None:
    with closing(intake.bind(Endpoint("::1", 0))) as bound:
        assert bound.getsockname()[0] == "::1"
