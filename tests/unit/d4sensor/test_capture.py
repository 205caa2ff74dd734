"""Capture files, whole and damaged."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import frames
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4sensor import capture
from d4sensor.capture import CaptureError

FRAMES = [frames.udp("10.0.0.1", n, "10.0.0.2", 9, bytes(n % 100)) for n in range(1, 20)]
CONTENT = b"".join(frames.pcap((1000 + n / 4, frame) for n, frame in enumerate(FRAMES)))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a capture file goes."""
    return tmp_path / "x.pcap"


def read(path: Path) -> tuple[list[bytes], str]:
    """The frames of a capture file, and the error with which it ends, if it does."""
    found: list[bytes] = []
    source = capture.open_file(str(path))
    try:
        while (batch := source.read()) is not None:
            for _, _, offset, size in batch.meta.tolist():
                found.append(batch.data[offset : offset + size])
    except CaptureError as error:
        return found, str(error)
    finally:
        source.close()
    return found, ""


def test_packets_come_whole_in_order_and_with_their_times(file: Path) -> None:
    file.write_bytes(CONTENT)
    assert read(file) == (FRAMES, "")
    batch = capture.open_file(str(file)).read()
    assert batch is not None
    assert batch.link == 1
    assert batch.meta[:3, :2].tolist() == [[1000, 0], [1000, 250_000], [1000, 500_000]]


def test_link_type_is_that_of_the_file(file: Path) -> None:
    frames.write_pcap(file, [(1, b"x" * 60)], link=113)
    assert capture.open_file(str(file)).link == 113


def test_file_without_packets(file: Path) -> None:
    frames.write_pcap(file, [])
    assert read(file) == ([], "")


@pytest.mark.parametrize("batch", [1, 4, 19, 4096])
def test_cut_file_yields_its_whole_packets_and_then_the_error(
    file: Path, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "BATCH", batch)
    ends = {24 + sum(16 + len(f) for f in FRAMES[:n]): n for n in range(len(FRAMES) + 1)}
    for size in range(24, len(CONTENT) + 1, 5):
        file.write_bytes(CONTENT[:size])
        found, error = read(file)
        assert found == FRAMES[: max(n for end, n in ends.items() if end <= size)]
        assert ("truncated" in error) == (size not in ends)


@pytest.mark.parametrize("content", [b"", CONTENT[:10], b"\x7fELF" + bytes(100)])
def test_what_is_no_capture_file(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(CaptureError, match=f"{file}: not a capture file that can be read"):
        capture.open_file(str(file))


def test_file_that_is_not_there(file: Path) -> None:
    with pytest.raises(CaptureError, match="x.pcap: .*No such file or directory"):
        capture.open_file(str(file))


@given(st.data())
def test_damaged_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(CONTENT)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file = tmp_path_factory.mktemp("damaged") / "x.pcap"
    file.write_bytes(content)
    with suppress(CaptureError):
        read(file)


def test_interface_that_is_not_there() -> None:
    with pytest.raises(CaptureError, match="^interface d4none: "):
        capture.open_interface("d4none", 2000, 1 << 20)
