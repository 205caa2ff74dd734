"""Where bars stand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4server.web.charts import COLOURS, HEIGHT, WIDTH, Column, chart, ranked

COLUMNS = [
    Column("1 Nov", {"maltrail": 30, "8": 10}),
    Column("2 Nov", {}),
    Column("3 Nov", {"8": 5, "maltrail": 0}),
]


def test_series_are_ranked_by_what_there_is_of_them_in_all() -> None:
    assert ranked(COLUMNS) == ["maltrail", "8"]
    assert ranked([Column("", {"b": 1, "a": 1, "none": 0})]) == ["a", "b"]
    assert ranked([]) == []


def test_bars_stand_upon_each_other_to_scale() -> None:
    made = chart(COLUMNS, ranked(COLUMNS))
    assert made.top == 40
    assert made.series == [("maltrail", 0), ("8", 1)]
    first, empty, last = made.stacks
    assert [(bar.y, bar.height, bar.colour) for bar in first.bars] == [(250, 750, 0), (0, 250, 1)]
    assert (first.total, first.parts) == (40, [("maltrail", 30), ("8", 10)])
    assert (empty.bars, empty.total) == ([], 0)
    assert [(bar.y, bar.height) for bar in last.bars] == [(875, 125)]
    assert last.parts == [("8", 5)]


def test_nothing_is_a_chart_too() -> None:
    assert chart([], []).stacks == []
    assert chart([Column("today", {})], []).top == 1


def test_more_series_than_colours_share_the_last_one() -> None:
    column = Column("today", {f"{number:02}": 100 - number for number in range(COLOURS + 3)})
    assert [colour for _, colour in chart([column], ranked([column])).series][-4:] == [COLOURS - 1] * 4


@pytest.mark.parametrize(
    ("value", "unit", "top"),
    [
        (0, 1000, 1),
        (1, 1000, 1),
        (7, 1000, 8),
        (20_035, 1000, 25_000),
        (801, 1000, 1000),
        (850_000, 1000, 10**6),
    ]
    + [(900 << 10, 1024, 1 << 20), (7 << 20, 1024, 8 << 20), (1000, 1024, 1024)],
)
def test_the_upper_edge_is_a_round_number(value: int, unit: int, top: int) -> None:
    assert chart([Column("", {"a": value})], ["a"], unit).top == top


@given(st.lists(st.dictionaries(st.sampled_from("abcdefghij"), st.integers(0, 10**18)), max_size=40))
def test_all_is_within_the_picture(values: list[dict[str, int]]) -> None:
    columns = [Column(str(number), each) for number, each in enumerate(values)]
    for unit in (1000, 1024):
        for stack in chart(columns, ranked(columns), unit).stacks:
            for bar in stack.bars:
                assert bar.y >= -0.2 and bar.y + bar.height <= HEIGHT + 0.2
                assert bar.x >= 0 and bar.x + bar.width <= WIDTH + 0.2
