"""What is kept of too many names."""

from __future__ import annotations

from d4sensor.judges.dns_tally import heaviest


def test_what_holds_more_than_the_mean_is_kept() -> None:
    tallies = {"a": [1], "b": [1, 2], "c": [1, 2, 3], "d": [1]}
    assert heaviest(tallies, 10) == {"b": [1, 2], "c": [1, 2, 3]}


def test_nothing_is_kept_of_what_all_weighs_the_same() -> None:
    assert heaviest({"a": [1], "b": [2]}, 10) == {}
    assert heaviest({}, 10) == {}


def test_nothing_is_kept_where_it_would_be_too_much() -> None:
    tallies = {"a": [1, 2, 3], "b": [1]}
    assert heaviest(tallies, 3) == {"a": [1, 2, 3]}
    assert heaviest(tallies, 2) == {}
