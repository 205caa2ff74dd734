"""The metrics of several workers as one page."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import Histogram, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from d4common import metrics
from d4server import figures


def page(packets: dict[str, int], waiting: int) -> list[Metric]:
    """Some of what a worker tells."""
    counter = CounterMetricFamily("d4_packets", "Packets.", labels=["type"])
    for type, number in packets.items():
        counter.add_metric([type], number)
    seconds = Histogram("d4_store_seconds", "Time.", buckets=[1], registry=None)
    seconds.observe(0.5)
    return [counter, GaugeMetricFamily("d4_store_waiting_bytes", "Bytes.", value=waiting), *seconds.collect()]


def read(families: Iterable[Metric], place: Path) -> list[Metric]:
    """What becomes of families that are served and asked for."""

    async def source() -> Iterable[Metric]:
        return families

    async def ask() -> list[Metric]:
        server = await metrics.serve(place, source)
        found = await metrics.ask(place, 10)
        server.close()
        return found

    return asyncio.run(ask())


def samples(families: Iterable[Metric], name: str) -> list[tuple[dict[str, str], float]]:
    """All samples of a name."""
    return [(each.labels, each.value) for family in families for each in family.samples if each.name == name]


def test_each_family_is_there_once_and_each_sample_has_its_worker(tmp_path: Path) -> None:
    place = tmp_path / "m.sock"
    pages = {1: page({"3": 5, "maltrail": 1}, 10), 3: page({"3": 7}, 20)}
    asked = {number: read(each, place) for number, each in pages.items()}
    found = read(list(figures.of_workers(asked)), place)
    names = [family.name for family in found]
    assert len(names) == len(set(names))
    assert {"d4_workers", "d4_packets", "d4_store_waiting_bytes", "d4_store_seconds"} <= set(names)
    [packets] = [family for family in found if family.name == "d4_packets"]
    assert (packets.type, packets.documentation) == ("counter", "Packets.")
    assert samples(found, "d4_workers") == [({}, 2)]
    assert samples(found, "d4_packets_total") == [
        ({"type": "3", "worker": "1"}, 5),
        ({"type": "maltrail", "worker": "1"}, 1),
        ({"type": "3", "worker": "3"}, 7),
    ]
    assert ({"le": "1.0", "worker": "3"}, 1) in samples(found, "d4_store_seconds_bucket")
    assert samples(found, "d4_store_seconds_count") == [({"worker": "1"}, 1), ({"worker": "3"}, 1)]


def test_the_line_adds_up_all_workers() -> None:
    found = list(figures.of_workers({1: page({"3": 5, "8": 1}, 0), 2: page({"3": 7}, 0)}))
    assert figures.summary(found).startswith("2 workers, 0 connections, 13 packets accepted, 0 stored")


def test_without_a_worker_there_is_only_that(tmp_path: Path) -> None:
    [family] = figures.of_workers({})
    assert samples([family], "d4_workers") == [({}, 0)]
