"""What `d4-server status` prints for people."""

from __future__ import annotations

import pytest

from d4server import status_command
from d4server.statistics import Day, Volume
from d4server.status import Daemon, Disk, Status, Stored
from d4server.survey import Queue, Stream, Survey

NOW = 1_800_000_000.0


def test_everything_is_shown() -> None:
    daemon = Daemon({"plain": 1, "acknowledged": 2, "enrolment": 0}, 3, 2048, NOW + 40 * 86400)
    survey = Survey(
        [Stream("3", 7, 900), Stream("maltrail", 120_000, 5 << 30)],
        [Queue("maltrail", "maltrail", 12, 1000, 1, 90.4), Queue("q", "3", 0, 0, 0, 0.0)],
        6 << 30,
        8 << 30,
        {},
    )
    today = Day({"3": Volume(1, 10, 1), "maltrail": Volume(2, 3000, 4)}, {"hmac": 1}, {"size:ipv4-global": 5})
    stored = Stored(
        {"approved": 3, "pending": 1, "revoked": 0}, today, survey, Disk("/var/lib/redis", 5 << 40)
    )
    found = Status(daemon, stored, NOW + 40 * 86400, [])
    assert list(status_command.lines(found, NOW)) == [
        "server       3 sensors connected; connections: 1 plain, 2 acknowledged, 0 enrolment, "
        "2.0 KiB wait for Redis",
        "redis        6.0 GiB of memory of 8.0 GiB; 5.0 TiB free in /var/lib/redis",
        "sensors      3 approved, 1 pending, 0 revoked",
        "today        3 packets, 2.9 KiB, 5 records; refused: 1 connections of sensors, 5 of strangers",
        "certificate  ends 2027-02-24, in 40 days",
        "",
        "QUEUE     TYPE      LAG  UNACKNOWLEDGED  OLDEST  CONSUMERS",
        "maltrail  maltrail  12   1000            90s     1",
        "q         3         0    0               -       0",
        "",
        "STREAM    ENTRIES  MEMORY",
        "3         7        900 B",
        "maltrail  120000   5.0 GiB",
    ]


def test_how_many_workers_there_are_is_shown_where_there_may_be_several() -> None:
    daemon = Daemon({"plain": 1}, 1, 0, None, workers=1)
    [line] = status_command.lines(Status(daemon, None, None, []), NOW)
    assert line == "server       1 workers, 1 sensors connected; connections: 1 plain"


def test_what_is_not_known_is_left_out() -> None:
    assert list(status_command.lines(Status(None, None, None, ["nothing answers"]), NOW)) == []
    [line] = status_command.lines(Status(None, None, NOW - 1, []), NOW)
    assert line.startswith("certificate  ended ")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "-"), (0.2, "0s"), (119, "119s"), (120, "2min"), (7199, "119min"), (7200, "2h"), (172800, "2d")],
)
def test_an_age_is_short(seconds: float, text: str) -> None:
    assert status_command.age(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1 << 40, "1.0 TiB"), (1 << 51, "2048.0 TiB")],
)
def test_a_size_is_short(number: int, text: str) -> None:
    assert status_command.size(number) == text


def test_a_table_without_rows_has_its_head() -> None:
    assert list(status_command.table(("A", "B"), [])) == ["A  B"]
