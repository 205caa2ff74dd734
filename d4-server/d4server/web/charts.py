"""Where the bars of a chart stand; the template ``chart.html`` draws them. No I/O.

A column of bars, one upon another, stands for a time, each bar for a series. Lengths are per mille of the
chart's height and of its width, so that it fits any screen.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from d4server.history import SensorDay, TotalDay
from d4server.web.rendering import day

WIDTH, HEIGHT = 1000.0, 1000.0

GAP = 0.2
"""Part of a column's width that is left free."""

COLOURS = 6
"""Series that have a colour of their own; the rest is drawn as the last."""


ROUND = (10, 12, 15, 20, 25, 30, 40, 50, 60, 80)
"""What the upper edge may stand for, but for a factor of ten."""


class Column(NamedTuple):
    """What there is at one time, by series."""

    label: str
    values: dict[str, int]


class Bar(NamedTuple):
    """A rectangle, of the series ``colour``."""

    x: float
    y: float
    width: float
    height: float
    colour: int


class Stack(NamedTuple):
    """A column as it is drawn; ``parts`` has the values, for who points at it, the largest first."""

    label: str
    x: float
    width: float
    bars: list[Bar]
    total: int
    parts: list[tuple[str, int]]


class Chart(NamedTuple):
    """All of it. ``top`` is the value at the upper edge."""

    stacks: list[Stack]
    series: list[tuple[str, int]]
    """Names, and each one's colour."""
    top: int


def ranked(columns: Sequence[Column]) -> list[str]:
    """The series by how much there is of each in all."""
    totals = Counter[str]()
    for column in columns:
        totals.update(column.values)
    return [name for name, total in sorted(totals.items(), key=lambda each: (-each[1], each[0])) if total]


def chart(columns: Sequence[Column], series: Sequence[str], unit: int = 1000) -> Chart:
    """The columns side by side, the first of the ``series`` at the bottom; ``unit`` is 1024 for bytes."""
    colours = {name: min(place, COLOURS - 1) for place, name in enumerate(series)}
    top = _round_up(max((sum(column.values.values()) for column in columns), default=0), unit)
    step = WIDTH / max(len(columns), 1)
    stacks = [_stack(column, place * step, step, top, colours) for place, column in enumerate(columns)]
    return Chart(stacks, list(colours.items()), top)


class Traffic(NamedTuple):
    """Packets and bytes of days, by type."""

    packets: Chart
    bytes: Chart


def of_days(days: Sequence[SensorDay | TotalDay]) -> Traffic:
    """What came on these days, a type in the same colour in both charts."""
    packets, bytes = (
        [
            Column(day(each.date), {type: getattr(it, what) for type, it in each.volumes.items()})
            for each in days
        ]
        for what in ("packets", "bytes")
    )
    series = ranked(packets)
    return Traffic(chart(packets, series), chart(bytes, series, 1024))


def _stack(column: Column, left: float, step: float, top: int, colours: dict[str, int]) -> Stack:
    x, width, foot = round(left + step * GAP / 2, 1), round(step * (1 - GAP), 1), HEIGHT
    bars = []
    for name, colour in colours.items():
        height = HEIGHT * column.values.get(name, 0) / top
        if height:
            foot -= height
            bars.append(Bar(x, round(foot, 1), width, round(height, 1), colour))
    parts = [(name, column.values[name]) for name in colours if column.values.get(name)]
    return Stack(column.label, x, width, bars, sum(column.values.values()), parts)


def _round_up(value: int, unit: int) -> int:
    """A round number that is not below a value, and not much above."""
    size = 1
    while value > ROUND[-1] * 10 * size:
        size *= unit
    for power in (1, 10, 100):
        for digits in ROUND:
            number = math.ceil(digits * power / 10) * size
            if number >= value and number:
                return number
    raise AssertionError(value)
