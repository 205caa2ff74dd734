"""What makes a sensor itself: a UUID and a key, made once, on the host that they are for."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from uuid import UUID, uuid4

from d4common import files

PATH = Path("/etc/d4/sensor.conf.d/10-identity.conf")

MODE = 0o600
"""For root's eyes only: systemd hands the file to the sensor as a credential."""


def make(path: Path) -> bool:
    """Writes a new identity to ``path``, for root's eyes only. False if there is one. Raises OSError.

    The key is 256 random bits as 64 hexadecimal digits: text that every D4 server takes as it is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = files.write_draft(path, _text(uuid4(), secrets.token_hex(32), "Made at its first start"), MODE)
    try:
        os.link(draft, path)  # of two that start at once, one wins, with a whole file
    except FileExistsError:
        return False
    finally:
        os.unlink(draft)
    files.sync(path.parent)
    return True


def replace(path: Path, uuid: UUID, key: str) -> None:
    """Writes the key that a server gave to the sensor, in one step. Raises OSError."""
    files.replace(path, _text(uuid, key, "Its server gave it the key"), MODE)


def _text(uuid: UUID, key: str, whence: str) -> bytes:
    return (
        f"# Who this sensor is. {whence}: never copy it to another host.\n[d4]\nuuid = {uuid}\nkey = {key}\n"
    ).encode()
