"""`d4-sensor explain`: for each sighting in capture files which packet shows it, by which rule and trail."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from d4common.event import Event
from d4sensor.capture import Batch
from d4sensor.engine import Engine
from d4sensor.replay import fields


class Explanation(NamedTuple):
    """An event before the throttle, and why there is one.

    ``packet`` counts the packets of all files from one; ``rule`` is the judge's name; ``source`` is the
    file or the feed that the trail is from, if it is one, or else its reference.
    """

    packet: int
    rule: str
    source: str
    event: Event

    def text(self) -> str:
        """The explanation on a line."""
        return f"packet {self.packet}, rule {self.rule}, trail from {self.source}: {self.event.line()}"


def explain(engine: Engine, packets: Iterable[Batch]) -> Iterator[Explanation]:
    """Every sighting in packets, nothing summed up. Raises the CaptureError of ``packets``."""
    before = 1
    for batch in packets:
        for judge, finding, event in engine.find(batch):
            rule = type(judge).__module__.rpartition(".")[2]
            source = finding.verdict.trail.source or event.reference
            yield Explanation(before + finding.packet, rule, source, event)
        before += len(batch.meta)


def show(found: Iterable[Explanation], as_json: bool) -> None:
    """Prints explanations as sentences, or as objects of JSON, one a line."""
    for each in found:
        why = {"packet": each.packet, "rule": each.rule, "source": each.source}
        print(json.dumps({**why, **fields(each.event)}) if as_json else each.text())
