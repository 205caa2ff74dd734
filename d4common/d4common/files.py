"""Files that are there whole or not at all, whenever power fails."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def replace(path: Path, data: bytes, mode: int) -> None:
    """Writes a file in one step, in place of one that may be there. Raises OSError.

    It never exists with a mode wider than ``mode``, and is on the disk when this returns.
    """
    draft = write_draft(path, data, mode)
    try:
        draft.replace(path)
    except OSError:
        draft.unlink()
        raise
    sync(path.parent)


def write_draft(path: Path, data: bytes, mode: int) -> Path:
    """Writes ``data`` beside ``path``, to be renamed or linked to it, and removed. Raises OSError."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)  # whatever the umask
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            draft.unlink()
            raise
    return draft


def sync(directory: Path) -> None:
    """Has the names in a directory on the disk. Raises OSError."""
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
