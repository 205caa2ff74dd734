"""From the configuration of a source to the source, and to how its records become payloads."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sourcing import Given

from d4common.config import Endpoint
from d4sensor.source import SourceError, kinds
from d4sensor.source.pcap import header
from d4sensor.source_config import Source

SERVERS = [Endpoint("192.0.2.1", 4443)]


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        (Source("stdin", 3), "Stdin"),
        (Source("file", 3, path=Path("/x")), "File"),
        (Source("folder", 3, path=Path("/x")), "Folder"),
        (Source("journal"), "Journal"),
        (Source("pcap"), "Pcap"),
    ],
)
def test_each_kind_has_its_source(settings: Source, kind: str) -> None:
    assert type(kinds.make(settings, SERVERS, "name")).__name__ == kind


def test_a_socket_that_nobody_holds_is_an_error() -> None:
    with pytest.raises(SourceError, match=r"enable --now d4-source@name\.socket` makes /run/d4/name\.sock"):
        kinds.make(Source("unix", 3), SERVERS, "name")


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=20), st.sampled_from([1, 3]))
def test_payloads_hold_all_bytes_and_no_more(records: list[bytes], type: int) -> None:
    packets = list(kinds.packing(Source("stdin", type))(records, 20))
    assert b"".join(packet.payload for packet in packets) == b"".join(records)
    assert all(0 < len(packet.payload) <= 20 for packet in packets)


def test_lines_are_counted_and_chunks_are_not() -> None:
    records = [b"one\n", b"two\n"]
    assert [packet.records for packet in kinds.packing(Source("stdin", 3))(records, 100)] == [2]
    assert [packet.records for packet in kinds.packing(Source("stdin", 1))(records, 100)] == [1]


def test_only_a_capture_has_a_preamble() -> None:
    intake = Given(header(1).hex())
    assert kinds.preamble(Source("pcap"), intake) == header(1)
    assert kinds.preamble(Source("pcap"), Given()) == b""
    assert kinds.preamble(Source("file", 1, path=Path("/x")), Given("1 2 3")) == b""
