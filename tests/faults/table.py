"""The fault table, shown at the end of a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

LINE = "{:30} {:>6} {:>6} {:>6} {:>6} {:>7} {:>8} {:>7}"
PROPERTY = "fault"
"""What tests that make a row record: the fault, and the row as a dict, which goes from process to process."""


class Row(NamedTuple):
    """What has become of the events that were ``sent``: how many lines the stream has, of which kind."""

    sent: int
    stored: int
    lost: int
    doubled: int
    in_order: bool
    faults: int
    seconds: float

    @property
    def faultless(self) -> bool:
        """Whether each event is there once, in its place."""
        return (self.stored, self.lost, self.doubled, self.in_order) == (self.sent, 0, 0, True)


def show(reporter: pytest.TerminalReporter) -> None:
    """Writes the rows that were made, if any were."""
    rows = list(recorded(reporter))
    if not rows:
        return
    reporter.section("fault table")
    titles = ("fault", "times", "sent", "stored", "lost", "doubled", "in order", "seconds")
    reporter.write_line(LINE.format(*titles))
    for fault, row in rows:
        counts = (row.faults, row.sent, row.stored, row.lost, row.doubled)
        order = "yes" if row.in_order else "no"
        reporter.write_line(LINE.format(fault, *counts, order, f"{row.seconds:.0f}"))


def recorded(reporter: pytest.TerminalReporter) -> Iterator[tuple[str, Row]]:
    """Faults with their rows, by the reports of all processes that pytest-xdist has run tests in."""
    for outcome in ("passed", "failed"):
        for report in reporter.getreports(outcome):
            for name, value in report.user_properties:
                if name == PROPERTY:
                    fault, row = value
                    yield fault, Row(**row)
