"""Which packet is an event, and why."""

from __future__ import annotations

import json

import frames
import pytest
from sensing import SECOND, batch, trails_of

from d4sensor import explain as explaining
from d4sensor.engine import Engine
from d4sensor.explain import explain

TRAILS = {"203.0.113.5": "bad", "evil.tld": "bad"}


def test_packets_are_counted_over_all_batches_and_nothing_is_summed_up() -> None:
    quiet, ask = frames.ping("10.0.0.1", "10.0.0.2"), frames.query("10.0.0.1", "www.evil.tld")
    batches = [batch(quiet, ask, sec=SECOND), batch(*[ask] * 5, frames.ping("10.0.0.1", "203.0.113.5"))]
    found = list(explain(Engine(trails_of(TRAILS), "sensor"), batches))
    assert [(each.packet, each.rule, each.event.trail) for each in found] == [
        *((n, "dns", "(www).evil.tld") for n in (2, 3, 4, 5, 6, 7)),
        (8, "address", "203.0.113.5"),
    ]


def test_scan_is_a_rule() -> None:
    probes = batch(*(frames.syn("10.0.0.1", 1, "10.0.0.2", n) for n in range(11)))
    (found,) = explain(Engine(trails_of({}), "sensor"), [probes])
    assert found.text().startswith('packet 11, rule scan, trail from (heuristic): "')


def test_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = explain(Engine(trails_of(TRAILS), "sensor"), [batch(frames.query("10.0.0.1", "evil.tld"))])
    explaining.show(found, as_json=True)
    (line,) = capsys.readouterr().out.splitlines()
    fields = json.loads(line)
    assert (fields["packet"], fields["rule"], fields["source"]) == (1, "dns", "(static)")
    assert (fields["sec"], fields["trail"], fields["severity"]) == (SECOND, "evil.tld", "medium")
