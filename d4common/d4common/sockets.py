"""Drop-ins that give systemd's .socket units the addresses from a daemon's configuration.

A systemd generator (systemd.generator(7)) writes them, so that there is one place to say where to listen.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from d4common.config import Endpoint


def write_listen(directory: Path, unit: str, directive: str, endpoints: Iterable[Endpoint]) -> None:
    """Writes ``directory/unit.d/50-d4.conf``: ``unit`` listens on ``endpoints`` and nowhere else.

    ``directive`` is ListenStream or ListenDatagram (systemd.socket(5)). Raises OSError.
    """
    drop_in = directory / f"{unit}.d" / "50-d4.conf"
    lines = ["[Socket]", f"{directive}=", *(f"{directive}={endpoint}" for endpoint in endpoints)]
    drop_in.parent.mkdir(parents=True, exist_ok=True)
    drop_in.write_text("\n".join(lines) + "\n", encoding="utf-8")
