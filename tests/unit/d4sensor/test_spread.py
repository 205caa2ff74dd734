"""Different items of a key in a sliding window."""

from __future__ import annotations

import random
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4sensor import spread as spreads
from d4sensor.spread import Bound, Spread


def over(spread: Spread, *seen: tuple[int, int, int], batch: int = 5) -> list[int]:
    """The times at which a key exceeds a bound, if so many are added at a time."""
    found = []
    for at in range(0, len(seen), batch):
        keys, items, secs = np.array(seen[at : at + batch], dtype=np.uint64).T
        found += [secs[n].item() for n in spread.over(keys, items, secs.astype(np.uint32))]
    return found


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 20])
def test_one_more_than_the_bound(batch: int) -> None:
    assert over(Spread(Bound(30, 3)), *((1, item, item) for item in range(4)), batch=batch) == [3]
    assert over(Spread(Bound(30, 3)), *((1, item % 3, item) for item in range(20)), batch=batch) == []


def test_window_slides() -> None:
    """Fifteen items in thirty seconds, whenever the window of a clock would have begun."""
    assert over(Spread(Bound(30, 3)), (1, 5, 0), (1, 6, 25), (1, 7, 31), (1, 8, 35), (1, 9, 40)) == [40]
    assert over(Spread(Bound(30, 3)), *((1, n, n * 10) for n in range(100))) == []


def test_once_in_a_window() -> None:
    assert over(Spread(Bound(30, 3)), *((1, n, n // 10) for n in range(1000))) == [0, 30, 60, 90]


def test_keys_are_counted_apart() -> None:
    assert over(Spread(Bound(30, 3)), *((n % 2, n, 0) for n in range(6))) == []
    assert over(Spread(Bound(30, 3)), *((n % 2, n, 0) for n in range(8))) == [0, 0]


def test_longer_bound() -> None:
    spread = Spread(Bound(30, 3), Bound(600, 10))
    assert over(spread, *((1, n, n * 50) for n in range(11))) == [500]
    assert over(spread, *((2, n, n * 61) for n in range(1000))) == []
    assert len(spread) <= 11


def told_one_by_one(bounds: list[Bound], seen: list[tuple[int, int, int]]) -> list[int]:
    """The same by everything that was ever seen."""
    found: list[int] = []
    latest: dict[int, dict[int, int]] = {}
    quiet: dict[int, int] = {}
    for key, item, sec in seen:
        items = latest.setdefault(key, {})
        items[item] = sec
        if any(sum(sec - when < bound.seconds for when in items.values()) > bound.most for bound in bounds):
            items.clear()
            if sec >= quiet.get(key, 0):
                found.append(sec)
                quiet[key] = sec + bounds[0].seconds
    return found


@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(1, 6), st.sampled_from((0, 0, 0, 1, 7, 31)))),
    st.integers(1, 50),
)
def test_batches_make_no_difference(steps: list[tuple[int, int, int]], batch: int) -> None:
    now, seen = 0, []
    for key, item, pause in steps:
        now += pause
        seen.append((key, item, now))
    bounds = [Bound(30, 2), Bound(300, 4)]
    assert over(Spread(*bounds), *seen, batch=batch) == told_one_by_one(bounds, seen)


def test_keys_that_share_a_slot_in_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those only the first can wait; a scan is not missed for that."""
    monkeypatch.setattr(spreads, "SLOTS", 1)
    both = [(key, item, item) for item in range(4) for key in (1, 2)]
    spread = Spread(Bound(30, 3))
    assert over(spread, (3, 9, 0), *both, (4, 9, 0), batch=20) == [3, 3]
    assert set(spread._seen) == {1, 2}, "what has one item is not remembered by itself"


def test_first_item_whose_slot_another_takes_counts_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreads, "SLOTS", 1)
    spread = Spread(Bound(30, 3))
    assert over(spread, (1, 5, 0), (2, 5, 0), (1, 5, 0), (1, 6, 0), (1, 7, 0), (1, 8, 0), batch=1) == [0]


def test_key_with_news_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow scanner is not driven out by a flood of others."""
    monkeypatch.setattr(spreads, "MAX_KEYS", 100)
    seen = [(1, n, n) if k == 0 else (n * 100 + k // 2, k, n) for n in range(1, 12) for k in range(100)]
    assert over(Spread(Bound(30, 10)), *seen) == [11]


@pytest.mark.parametrize("items", [1, 2, 8, 60])
def test_memory_under_a_flood_is_bounded(items: int) -> None:
    spread, rng = Spread(Bound(30, 10), Bound(3600, 60)), random.Random(4)
    tracemalloc.start()
    for n in range(30):
        keys = np.array([rng.getrandbits(64) for _ in range(4000 // items)] * items, dtype=np.uint64)
        ports = np.array([rng.getrandbits(16) for _ in keys], dtype=np.uint64)
        list(spread.over(keys, ports, np.full(len(keys), n * 40, dtype=np.uint32)))
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(spread) <= spreads.MAX_ITEMS
    assert len(spread) == sum(map(len, spread._seen.values()))
    assert len(spread._seen) <= spreads.MAX_KEYS
    assert used < 15e6
