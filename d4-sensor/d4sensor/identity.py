"""What makes a sensor itself: a UUID and a key, made once, on the host that they are for."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path
from uuid import uuid4

PATH = Path("/etc/d4/sensor.conf.d/10-identity.conf")


def make(path: Path) -> bool:
    """Writes a new identity to ``path``, for root's eyes only. False if there is one. Raises OSError.

    The key is 256 random bits as 64 hexadecimal digits: text that every D4 server takes as it is.
    """
    text = (
        "# Who this sensor is. Made at its first start: never copy it to another host.\n"
        "[d4]\n"
        f"uuid = {uuid4()}\n"
        f"key = {secrets.token_hex(32)}\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".identity-")  # mode 0600
    with open(descriptor, "w") as file:
        file.write(text)
    try:
        os.link(draft, path)  # of two that start at once, one wins, with a whole file
    except FileExistsError:
        return False
    finally:
        os.unlink(draft)
    return True
