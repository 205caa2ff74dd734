"""Frames through the engine, and trails without files."""

from __future__ import annotations

import numpy as np

from d4common.event import Event
from d4sensor.capture import Batch
from d4sensor.engine import Engine
from d4sensor.indicator import parse
from d4sensor.trails import Trail, Trails

ETHERNET = 1
SECOND = 1_790_000_000
"""When the frames of a batch were captured, a microsecond apart."""


def batch(*frames: bytes, link: int = ETHERNET, sec: int = SECOND) -> Batch:
    """A batch of these frames."""
    sizes = [len(frame) for frame in frames]
    offsets = [sum(sizes[:n]) for n in range(len(sizes))]
    rows = [(sec, n, offset, size) for n, (offset, size) in enumerate(zip(offsets, sizes, strict=True))]
    return Batch(b"".join(frames), np.array(rows, dtype=np.uint32).reshape(-1, 4), link)


def batch_at(*packets: tuple[float, bytes]) -> Batch:
    """A batch of frames on Ethernet, each with its time in seconds behind SECOND."""
    made = batch(*(frame for _, frame in packets))
    times = [divmod(round(when * 1_000_000), 1_000_000) for when, _ in packets]
    made.meta[:, :2] = np.array(times, dtype=np.int64).reshape(-1, 2) + (SECOND, 0)
    return made


def trails_of(infos: dict[str, str]) -> Trails:
    """Trails by indicators, as a file has them, and what is known about each."""
    found = [(parse(text), Trail(info, "(static)")) for text, info in infos.items()]
    networks = [indicator.network for indicator, _ in found if indicator.network]
    patterns = [indicator.key for indicator, _ in found if indicator.pattern]
    return Trails({indicator.key: trail for indicator, trail in found}, networks, patterns)


def events(infos: dict[str, str], *frames: bytes, link: int = ETHERNET) -> list[Event]:
    """The events of these frames by these trails."""
    return Engine(trails_of(infos), "sensor").judge(batch(*frames, link=link))


def told(infos: dict[str, str], *frames: bytes, link: int = ETHERNET) -> list[str]:
    """The events as lines, from the source address to the trail's text."""
    return [
        " ".join((e.src_ip, e.src_port, e.dst_ip, e.dst_port, e.proto, e.type, e.trail))
        for e in events(infos, *frames, link=link)
    ]
