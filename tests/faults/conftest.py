"""The fault table, shown at the end."""

from __future__ import annotations

import pytest
from faults.chain import DONE

ROW = "{:30} {:>6} {:>6} {:>6} {:>6} {:>7} {:>8} {:>7}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Adds the rows that were made."""
    if not DONE:
        return
    terminalreporter.section("fault table")
    titles = ("fault", "times", "sent", "stored", "lost", "doubled", "in order", "seconds")
    terminalreporter.write_line(ROW.format(*titles))
    for fault, row in DONE.items():
        counts = (row.faults, row.sent, row.stored, row.lost, row.doubled)
        order = "yes" if row.in_order else "no"
        terminalreporter.write_line(ROW.format(fault, *counts, order, f"{row.seconds:.0f}"))
