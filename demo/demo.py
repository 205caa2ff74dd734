"""`make demo`: a sample capture through the whole chain, and the events as they reach the collector."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from demo.chain import TREE, Chain, Failed, environment

SAMPLE = TREE / "demo" / "sample.pcap"
TRAILS = [TREE / "d4-sensor" / "trails", TREE / "demo" / "trails"]
EXPECTED = TREE / "demo" / "expected.txt"

PATIENCE = 30.0
"""Seconds without an event after which those that are missing count as lost."""


def main() -> None:
    """Runs the demonstration; exit status 0 only if every expected event arrived."""
    parser = argparse.ArgumentParser(prog="make demo")
    parser.add_argument("--once", action="store_true", help="end when the events have arrived")
    parser.add_argument("--pcap", type=Path, default=SAMPLE, help="a capture of your own")
    parser.add_argument("--trails", type=Path, action="append", help="trails of your own")
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="d4-demo-") as directory, Chain(Path(directory)) as chain:
            missing = demonstrate(chain, arguments.pcap, arguments.trails or TRAILS)
            if not arguments.once:
                show_page(chain)
                threading.Event().wait()
    except Failed as failure:
        sys.exit(f"demo: {failure}")
    except KeyboardInterrupt:
        print()
    else:
        sys.exit(1 if missing else 0)


def demonstrate(chain: Chain, pcap: Path, trails: list[Path]) -> Counter[str]:
    """Sends the events in ``pcap`` and prints them as they arrive. Those that did not come are returned."""
    options = [str(pcap), *(word for path in trails for word in ("--trails", str(path)))]
    replay = ["replay", *options]
    seen = [essence(line) for line in chain.run("d4sensor", "sensor", *replay).splitlines()]
    expected = EXPECTED.read_text().splitlines() if pcap == SAMPLE and trails == TRAILS else seen
    missing = Counter(expected)
    tell(f"{pcap.name} through sensor, server, exporter and collector: {len(expected)} events to come")
    sending = subprocess.Popen(
        chain.command("d4sensor", "sensor", *replay, "--send", "--timestamps", "wallclock"),
        env=environment(),
    )
    for line in arriving(chain.events, PATIENCE):
        tell(line)
        missing -= Counter([essence(line)])
        if not missing:
            break
    if sending.wait():
        raise Failed("d4-sensor replay --send failed")
    tell(f"{len(expected) - missing.total()} of {len(expected)} events arrived")
    for line in missing:
        tell(f"missing: {line}")
    return missing


def show_page(chain: Chain) -> None:
    """Says where the page is, and how to log in."""
    password = chain.run("maltrailcollector", "collector", "password").strip()
    tell(f"\nThe page: http://127.0.0.1:{chain.http_port}/   user: admin   password: {password}")
    tell(f"The logs of the daemons: {chain.directory}/*.log")
    tell("Ctrl-C ends the demonstration.\n")


def arriving(logs: Path, patience: float) -> Iterator[str]:
    """The lines of the collector's logs, those to come too, until none came for ``patience`` seconds."""
    offsets: dict[Path, int] = {}
    last = time.monotonic()
    while time.monotonic() - last < patience:
        for path in sorted(logs.glob("*.log")):
            with path.open("rb") as file:
                file.seek(offsets.get(path, 0))
                whole, feed, _ = file.read().rpartition(b"\n")
            offsets[path] = offsets.get(path, 0) + len(whole) + len(feed)
            for line in whole.decode().splitlines():
                last = time.monotonic()
                yield line
        time.sleep(0.05)


def essence(line: str) -> str:
    """An event without its time and its sensor."""
    return line.split(" ", 3)[3]


def tell(text: str) -> None:
    """Prints at once, into a pipe too."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
