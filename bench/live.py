"""What d4-sensor loses of a burst on an interface: figure ``sensor.live``, the packets/s of the burst.

tcpreplay sends a capture file, as fast as it can, on one of a pair of interfaces; the engine judges what it
captures on the other one, with the ring and the snaplen of the default configuration. ``dropped`` are the
packets for which the kernel counted that there was no room. The sender, in whose time the kernel also fills
the ring, has a core of its own.

bench.sensor runs this, with the capture file and compiled trails, in a network namespace of its own.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
from pathlib import Path

from bench.figure import show
from d4common import malloc
from d4sensor import capture, compiled
from d4sensor.capture import Interface
from d4sensor.config import SensorConfig
from d4sensor.engine import Engine

PATIENCE = 30.0
"""Seconds until the first packet, which tcpreplay sends once it has read the file."""

SILENCE = 1.0
"""Seconds without a packet after which the burst is over."""


def main() -> None:
    """Measures and prints."""
    pcap, trails = sys.argv[1:]
    malloc.keep_buffers()
    subprocess.run(["ip", "link", "add", "left", "type", "veth", "peer", "name", "right"], check=True)
    for name in ("left", "right"):
        subprocess.run(["ip", "link", "set", name, "addrgenmode", "none", "up"], check=True)
    engine = Engine(compiled.open_(Path(trails)), "bench")
    settings = SensorConfig().capture
    interface = capture.open_interface("right", settings.snaplen, settings.buffer)
    cores = range(os.cpu_count() or 1)
    sender = subprocess.Popen(
        [
            "taskset",
            "--cpu-list",
            str(cores[0]),
            "tcpreplay",
            "--topspeed",
            "--preload-pcap",
            "-i",
            "left",
            pcap,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    os.sched_setaffinity(0, {cores[-1]})
    _judge(interface, engine)
    said, _ = sender.communicate()
    pace = re.search(r"([\d.]+) pps", said)
    if not pace:
        sys.exit(f"tcpreplay sent nothing: {said}")
    counts = interface.counts()
    show("sensor.live", float(pace[1]), "packets/s", packets=counts.received, dropped=counts.dropped)


def _judge(interface: Interface, engine: Engine) -> None:
    """Judges the packets of the burst."""
    patience = PATIENCE
    while select.select([interface], [], [], patience)[0]:
        patience = SILENCE
        while (batch := interface.read()) is not None:
            engine.judge(batch)


if __name__ == "__main__":
    main()
