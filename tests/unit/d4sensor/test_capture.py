"""Capture files, whole and damaged."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import frames
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4sensor import capture
from d4sensor.capture import CaptureError
from d4sensor.unpack import UNPACKERS

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


def pcapng(kind: int = 1) -> bytes:
    """The frames in a file of pcapng, with blocks between them that have no packet."""

    def block(number: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        return struct.pack("<II", number, len(body) + 12) + body + struct.pack("<I", len(body) + 12)

    section = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    interface = block(1, struct.pack("<HHI", kind, 0, 262144))
    blocks = [section, interface]
    for n, frame in enumerate(FRAMES):
        when = 1_000_000_000 + n * 250_000
        blocks.append(block(6, struct.pack("<IIIII", 0, 0, when, len(frame), len(frame)) + frame))
        blocks.append(block(4, bytes(4)))
    return b"".join(blocks)


def test_pcapng(file: Path) -> None:
    file.write_bytes(pcapng())
    assert read(file) == (FRAMES, "")
    batch = capture.open_file(str(file)).read()
    assert batch is not None
    assert batch.meta[:2, :2].tolist() == [[1000, 0], [1000, 250_000]]


def test_cut_pcapng_yields_its_whole_packets_and_then_the_error(file: Path) -> None:
    file.write_bytes(pcapng()[:-60])
    found, error = read(file)
    assert found == FRAMES[:-1]
    assert "truncated" in error


@pytest.fixture(params=UNPACKERS.values())
def pack(request: pytest.FixtureRequest) -> Callable[[bytes], bytes]:
    """Compresses, in each way that is read."""

    def packed(content: bytes) -> bytes:
        return subprocess.run([request.param, "-c"], input=content, capture_output=True, check=True).stdout

    return packed


def test_compressed_file(file: Path, pack: Callable[[bytes], bytes]) -> None:
    file.write_bytes(pack(CONTENT))
    assert read(file) == (FRAMES, "")
    file.write_bytes(pack(pcapng()))
    assert read(file) == (FRAMES, "")
    file.write_bytes(pack(CONTENT[:24]))
    assert read(file) == ([], "")


def test_compressed_file_cut_before_it_was_compressed(file: Path, pack: Callable[[bytes], bytes]) -> None:
    file.write_bytes(pack(CONTENT[:-10]))
    found, error = read(file)
    assert found == FRAMES[:-1]
    assert "truncated" in error


def test_damaged_compressed_file_yields_what_can_be_unpacked(
    file: Path, pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "BATCH", 100)
    many = [os.urandom(900) for _ in range(1000)]
    content = pack(b"".join(frames.pcap((n, frame) for n, frame in enumerate(many))))
    file.write_bytes(content[: len(content) * 2 // 3])
    found, error = read(file)
    assert found == many[: len(found)]
    assert error.startswith(f"{file}: ")
    assert any(f"{command}: " in error for command in UNPACKERS.values()), "the command says what is wrong"


def test_file_that_only_begins_like_a_compressed_one(file: Path) -> None:
    for magic, command in UNPACKERS.items():
        file.write_bytes(magic + bytes(100))
        with pytest.raises(CaptureError, match=f"{file}: not a capture file that can be read: {command}: "):
            capture.open_file(str(file))


def test_compressed_file_that_is_no_capture(file: Path, pack: Callable[[bytes], bytes]) -> None:
    file.write_bytes(pack(b"text" * 100_000))
    with pytest.raises(
        CaptureError, match=f"{file}: not a capture file that can be read: unknown file format"
    ):
        capture.open_file(str(file))


def test_compressed_file_and_no_command_for_it(
    file: Path, pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_bytes(pack(CONTENT))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(CaptureError, match=f"{file}: compressed; the command (gzip|xz|zstd) would read it"):
        capture.open_file(str(file))


def test_compressed_file_that_is_not_read_to_its_end(file: Path, pack: Callable[[bytes], bytes]) -> None:
    many = [(n, os.urandom(900)) for n in range(1000)]
    file.write_bytes(pack(b"".join(frames.pcap(many))))
    before = held()
    capture.open_file(str(file)).close()
    assert held() == before


def held() -> tuple[set[str], set[str]]:
    """The descriptors and the children of this process."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return set(os.listdir("/proc/self/fd")), set(children)


@contextmanager
def standard_input(file: Path) -> Iterator[None]:
    """What a file holds, through a pipe, as this process's standard input."""
    kept = os.dup(0)
    with subprocess.Popen(["cat", str(file)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout
        os.dup2(writer.stdout.fileno(), 0)
        try:
            yield
        finally:
            os.dup2(kept, 0)
            os.close(kept)


def test_standard_input(file: Path) -> None:
    file.write_bytes(CONTENT)
    with standard_input(file):
        assert read(Path("-")) == (FRAMES, "")


def test_link_type_that_is_not_read(file: Path) -> None:
    frames.write_pcap(file, [(1, b"x" * 60)], link=105)
    with pytest.raises(CaptureError, match=f"{file}: link type 105 is not one that d4-sensor reads"):
        capture.open_file(str(file))


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


def test_long_packets_make_small_batches(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "BATCH", 100)
    monkeypatch.setattr(capture, "BATCH_BYTES", capture.LONGEST)
    frames.write_pcap(file, ((n, bytes(10 if n < 300 else 60_000)) for n in range(600)))
    source = capture.open_file(str(file))
    sizes = []
    while (batch := source.read()) is not None:
        sizes.append(len(batch.meta))
    assert sizes[:5] == [1, 100, 100, 100, 100], "the first before anybody knows how long packets are"
    assert set(sizes[5:-1]) == {4}
    assert sum(sizes) == 600


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
