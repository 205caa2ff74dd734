"""Too many names below one domain."""

from __future__ import annotations

from collections.abc import Iterable

import frames
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naming import rows_of
from sensing import batch, trails_of

from d4sensor.engine import Engine
from d4sensor.judges import Verdict, dns_exhaustion, dns_rows, dns_waiting
from d4sensor.judges.dns_exhaustion import SILENCE, THRESHOLD, WINDOW, DnsExhaustion
from d4sensor.trails import Trail, Trails

NONE = trails_of({})
TRAIL = Trail("potential dns exhaustion (suspicious)", "(heuristic)")


def verdicts(
    exhaustion: DnsExhaustion, names: Iterable[str], second: int = 0, trails: Trails = NONE
) -> list[Verdict]:
    """What is said of names that are asked for in the same second."""
    found = (exhaustion.of(name, second, trails) for name in names)
    return [verdict for verdict in found if verdict]


def names(domain: str, count: int = THRESHOLD, first: int = 0) -> list[str]:
    """Different names below a domain."""
    return [f"x{n}.{domain}" for n in range(first, first + count)]


def test_event_comes_with_the_name_that_is_one_too_many() -> None:
    asked = [frames.query("10.0.0.1", name) for name in names("evil.tld", THRESHOLD + 5)]
    (event,) = Engine(NONE, "sensor").judge(batch(*asked))
    assert event.line().split(" ", 3)[3] == (
        "10.0.0.1 40000 10.0.0.53 53 UDP DNS (x999).evil.tld "
        '"potential dns exhaustion (suspicious)" (heuristic)'
    )


def test_it_can_be_disabled() -> None:
    asked = [frames.query("10.0.0.1", name) for name in names("evil.tld")]
    assert Engine(NONE, "sensor", frozenset({"dns_exhaustion"})).judge(batch(*asked)) == []


def test_one_name_fewer_is_not_too_many() -> None:
    assert verdicts(DnsExhaustion(), names("evil.tld", THRESHOLD - 1) * 3) == []


def test_names_of_one_window_count_together() -> None:
    exhaustion, asked = DnsExhaustion(), names("evil.tld")
    assert verdicts(exhaustion, asked[:500], 1000) == []
    assert verdicts(exhaustion, asked[500:], 1000 + WINDOW - 1) == [Verdict("DNS", "(x999).evil.tld", TRAIL)]
    exhaustion = DnsExhaustion()
    assert verdicts(exhaustion, asked[:500], 1000) == []
    assert verdicts(exhaustion, asked[500:], 1000 + WINDOW) == []


def test_names_that_are_told_late_count_in_the_window() -> None:
    exhaustion, asked = DnsExhaustion(), names("evil.tld")
    assert verdicts(exhaustion, asked[:500], 1000) == []
    assert verdicts(exhaustion, asked[500:-1], 999) == []
    assert verdicts(exhaustion, asked[-1:], 1001) == [Verdict("DNS", "(x999).evil.tld", TRAIL)]


def test_time_that_goes_backwards_begins_a_window() -> None:
    exhaustion, asked = DnsExhaustion(), names("evil.tld")
    assert verdicts(exhaustion, asked[:500], 1000) == []
    assert verdicts(exhaustion, asked[500:], 900) == []


def test_an_hour_of_silence() -> None:
    exhaustion = DnsExhaustion()
    assert len(verdicts(exhaustion, names("evil.tld", 5 * THRESHOLD), 1000)) == 1
    assert verdicts(exhaustion, names("evil.tld"), 1000 + SILENCE - 1) == []
    assert len(verdicts(exhaustion, names("evil.tld"), 1000 + SILENCE)) == 1
    assert len(verdicts(exhaustion, names("other.tld"), 1000 + SILENCE)) == 1


@pytest.mark.parametrize(
    ("domain", "text"),
    [
        ("evil.tld", "(x999).evil.tld"),
        ("evil.co.tld", "(x999.evil).co.tld"),
        ("a.b.evil.tld", "(x999.a.b).evil.tld"),
    ],
)
def test_domain_has_two_labels_or_three(domain: str, text: str) -> None:
    assert verdicts(DnsExhaustion(), names(domain)) == [Verdict("DNS", text, TRAIL)]


def test_names_that_are_domains_themselves() -> None:
    exhaustion = DnsExhaustion()
    assert verdicts(exhaustion, names("tld") + names("co.tld")) == []
    assert exhaustion._names == {}


@pytest.mark.parametrize(
    "form",
    [
        "192-0-2-{}.evil.tld",
        "{}.dnsbl.evil.tld",
        "wpad.x{}.evil.tld",
        "autodiscover.x{}.evil.tld",
        "_ldap._tcp.x{}.evil.tld",
    ],
)
def test_names_that_are_usual_in_large_numbers(form: str) -> None:
    exhaustion = DnsExhaustion()
    usual = [form.format(n) for n in range(2 * THRESHOLD)]
    assert verdicts(exhaustion, usual) == []
    assert verdicts(exhaustion, ["www.evil.tld"]) == []
    assert verdicts(exhaustion, names("evil.tld")) == [Verdict("DNS", "(x998).evil.tld", TRAIL)]


def test_whitelisted_domains() -> None:
    trails = Trails({}, [], whitelist=["good.tld"])
    assert verdicts(DnsExhaustion(), names("good.tld", 3 * THRESHOLD), 0, trails) == []


def test_names_in_the_cache_of_verdicts_are_not_asked_again_and_reloads_do_not_forget() -> None:
    engine = Engine(NONE, "sensor")
    half = THRESHOLD // 2
    asked = [frames.query("10.0.0.1", name) for name in names("evil.tld")]
    assert engine.judge(batch(*asked[:half] * 3)) == []
    engine.trails = trails_of({})
    assert engine.judge(batch(*asked[:half])) == []
    assert len(engine.judge(batch(*asked[half:]))) == 1


def test_event_goes_before_that_of_a_long_name() -> None:
    asked = [frames.query("10.0.0.1", f"{'x' * 30}{n}.evil.tld") for n in range(THRESHOLD)]
    engine = Engine(NONE, "sensor", frozenset({"long_domain"}))
    assert len(engine.judge(batch(*asked))) == 1
    infos = [event.info for event in Engine(NONE, "sensor").judge(batch(*asked))]
    assert infos == ["long domain (suspicious)"] * (THRESHOLD - 1) + [TRAIL.info]


label = st.text("ab", min_size=1, max_size=4)
several = st.lists(label, min_size=2, max_size=4).map(".".join)


@given(
    st.lists(st.lists(st.tuples(several, st.integers(0, 9)), max_size=30), max_size=6),
    st.integers(2, 6),
    st.integers(1, 5),
)
def test_many_names_at_once_count_as_one_by_one(
    batches: list[list[tuple[str, int]]], threshold: int, many: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dns_exhaustion, "THRESHOLD", threshold)
        patch.setattr(dns_waiting, "MANY", min(many, threshold))
        together, alone = DnsExhaustion(), DnsExhaustion()
        for asked in batches:
            rows, seconds = rows_of(*(name for name, _ in asked)), [second * 20 for _, second in asked]
            found = together.among(rows, dns_rows.suffixes(rows), np.array(seconds, dtype=np.intp), NONE)
            one_by_one = (alone.of(name, second * 20, NONE) for name, second in asked)
            assert list(found) == [(n, verdict) for n, verdict in enumerate(one_by_one) if verdict]


def test_long_names_count_together_with_others() -> None:
    long, half = "x" * 60, THRESHOLD // 2
    asked = [f"n{n}.evil.tld" for n in range(half - 1)] + [f"{long}{n}.evil.tld" for n in range(half)]
    engine = Engine(NONE, "sensor", frozenset({"long_domain"}))
    assert engine.judge(batch(*(frames.query("10.0.0.1", name) for name in asked))) == []
    (event,) = engine.judge(batch(frames.query("10.0.0.1", "one-more.evil.tld")))
    assert event.trail == "(one-more).evil.tld"


def test_local_names_do_not_count() -> None:
    asked = [frames.query("10.0.0.1", name) for name in names("printers.lan", 2 * THRESHOLD)]
    assert Engine(NONE, "sensor").judge(batch(*asked)) == []


def test_memory_is_bounded_under_a_flood_of_domains_that_hides_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dns_exhaustion, "MAX_NAMES", 3 * THRESHOLD)
    exhaustion = DnsExhaustion()
    found = []
    for n in range(30 * THRESHOLD):
        found += verdicts(exhaustion, [f"a.domain{n}.tld"])
        if n % 10 == 0:
            found += verdicts(exhaustion, [f"x{n}.evil.tld"])
        assert exhaustion._held <= 3 * THRESHOLD
    assert sum(map(len, exhaustion._names.values())) == exhaustion._held
    assert [verdict.text.partition(".")[2] for verdict in found] == ["evil.tld"] * len(found) != []


def test_memory_of_events_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_exhaustion, "MAX_TOLD", 2)
    monkeypatch.setattr(dns_exhaustion, "THRESHOLD", 2)
    exhaustion = DnsExhaustion()
    assert len(verdicts(exhaustion, (f"{x}.evil{n}.tld" for n in range(9) for x in "ab"))) == 9
    assert len(exhaustion._told) <= 2
