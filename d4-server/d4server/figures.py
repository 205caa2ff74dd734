"""What Prometheus is told of a server: each metric's name, meaning and labels (docs/operation.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from d4common.session import Reason
from d4server.enrolment import Enrolment
from d4server.ingest import Ingest
from d4server.store import Store
from d4server.survey import Survey


class Figures:
    """What one process that serves connections counts."""

    def __init__(self, ingest: Ingest, store: Store, enrolment: Enrolment) -> None:
        self._ingest, self._store, self._enrolment = ingest, store, enrolment

    def collect(self) -> Iterator[Metric]:
        """All of it, as it is now."""
        yield from self._connections()
        yield from self._traffic()
        yield from self._stored()

    def _connections(self) -> Iterator[Metric]:
        kinds = {"plain": 0, "acknowledged": 0, **self._ingest.kinds(), "enrolment": len(self._enrolment)}
        yield _gauges("d4_connections", "Connections that are open.", "kind", kinds)
        yield _gauge("d4_sensors_connected", "Sensors that are connected.", len(self._ingest.sensors()))
        refused = {**dict.fromkeys(map(str, Reason), 0), **self._ingest.refused}
        yield _counters("d4_refused_connections", "Connections of sensors refused.", "reason", refused)

    def _traffic(self) -> Iterator[Metric]:
        volumes = self._ingest.statistics.volumes()
        for name, help, values in (
            ("d4_packets", "Packets of data that came.", {t: v.packets for t, v in volumes.items()}),
            ("d4_bytes", "Bytes of data that came.", {t: v.bytes for t, v in volumes.items()}),
            ("d4_records", "Records that came.", {t: v.records for t, v in volumes.items()}),
        ):
            yield _counters(name, help, "type", values)
        ingest = self._ingest
        for name, help, value in (
            ("d4_replayed_packets", "Packets of plain D4 left out because they had come.", ingest.replayed),
            (
                "d4_clock_off_packets",
                "Packets of plain D4 whose time was off by too much.",
                ingest.clocks_off,
            ),
        ):
            yield CounterMetricFamily(name, help, value=value)
        yield _gauge("d4_held_bytes", "Bytes held of what has not come whole.", ingest.held)

    def _stored(self) -> Iterator[Metric]:
        store = self._store
        for name, help, value in (
            ("d4_stored_entries", "Entries that Redis has taken.", store.stored),
            ("d4_repeated_packets", "Packets left out because they were stored already.", store.repeated),
            ("d4_gaps", "Gaps in the numbers of spools.", store.gaps),
        ):
            yield CounterMetricFamily(name, help, value=value)
        yield _gauge("d4_store_waiting_bytes", "Bytes that wait for Redis.", store.waiting)
        yield from store.seconds.collect()
        yield from store.batches.collect()


def of_redis(found: Survey | None) -> Iterator[Metric]:
    """What lies in Redis; of one that did not answer nothing but that."""
    yield _gauge("d4_redis_up", "Whether Redis answered the last time.", int(found is not None))
    if found is not None:
        yield from _in_redis(found)


def of_certificate(end: float) -> Metric:
    """The certificate in use, by when it ends, in seconds since the epoch."""
    return _gauge("d4_certificate_end_seconds", "When the certificate ends.", end)


def of_workers(pages: Mapping[int, Iterable[Metric]]) -> Iterator[Metric]:
    """What several workers say, by their numbers: a family of each name, each sample with its ``worker``."""
    yield _gauge("d4_workers", "Workers that serve.", len(pages))
    merged: dict[str, Metric] = {}
    for number, families in pages.items():
        for family in families:
            one = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                one.add_sample(sample.name, {**sample.labels, "worker": str(number)}, sample.value)
    yield from merged.values()


def summary(families: Iterable[Metric]) -> str:
    """The same in a line, of all workers together."""
    sums: Counter[str] = Counter()
    for family in families:
        for sample in family.samples:
            sums[sample.name] += int(sample.value)
    workers = f"{sums['d4_workers']} workers, " if "d4_workers" in sums else ""
    return (
        f"{workers}{sums['d4_connections']} connections, {sums['d4_packets_total']} packets accepted, "
        f"{sums['d4_stored_entries_total']} stored, "
        f"{sums['d4_repeated_packets_total']} sent again and left out, "
        f"{sums['d4_gaps_total']} gaps, {sums['d4_refused_connections_total']} connections refused"
    )


def _in_redis(found: Survey) -> Iterator[Metric]:
    streams, queues = found.streams, found.queues
    entries = {stream.type: stream.entries for stream in streams}
    yield _gauges("d4_stream_entries", "Entries in the streams of a type.", "type", entries)
    sizes = {stream.type: stream.bytes for stream in streams}
    yield _gauges("d4_stream_bytes", "Memory that the streams of a type take, about.", "type", sizes)
    for name, help, value in (
        ("d4_queue_lag_entries", "Entries that a queue has not yet given out.", "lag"),
        ("d4_queue_pending_entries", "Entries given out, and not acknowledged.", "pending"),
        ("d4_queue_consumers", "Consumers that a queue knows.", "consumers"),
        ("d4_queue_oldest_seconds", "Age of the oldest entry that is not acknowledged.", "oldest"),
    ):
        family = GaugeMetricFamily(name, help, labels=["queue", "type"])
        for queue in queues:
            family.add_metric([queue.name, queue.type], getattr(queue, value))
        yield family
    dropped = CounterMetricFamily(
        "d4_queue_dropped_entries", "Entries beyond a queue's cap.", labels=["queue", "type"]
    )
    for queue in queues:
        dropped.add_metric([queue.name, queue.type], found.settings[queue.name].dropped)
    yield dropped
    yield _gauge("d4_redis_memory_bytes", "Memory that Redis uses.", found.memory)
    limit = "Memory that Redis may use (maxmemory); 0 is no limit."
    yield _gauge("d4_redis_memory_limit_bytes", limit, found.memory_limit)


def _gauge(name: str, help: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help, value=value)


def _gauges(name: str, help: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, help, labels=[label])
    for each, value in values.items():
        family.add_metric([each], value)
    return family


def _counters(name: str, help: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, help, labels=[label])
    for each, value in values.items():
        family.add_metric([each], value)
    return family
