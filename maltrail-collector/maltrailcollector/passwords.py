"""The password of the page's one user: its argon2 hash in a file that only the daemon's user can read."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

from d4common.journal import FIRST_PASSWORD, Repeats
from d4common.passwords import hashed, random_password

log = logging.getLogger(__name__)

USER = "admin"

_complaints = Repeats()


def path_of(state_dir: Path) -> Path:
    """Where the hash lies."""
    return state_dir / "password"


def store(state_dir: Path, password: str) -> None:
    """Replaces the hash by that of ``password``. Raises OSError.

    The file gets the owner of its directory, so that the daemon can read what root has set.
    """
    owner = state_dir.stat()
    fd, name = tempfile.mkstemp(dir=state_dir)  # mode 0600
    try:
        with os.fdopen(fd, "w") as file:
            if os.geteuid() == 0:
                os.fchown(fd, owner.st_uid, owner.st_gid)
            file.write(hashed(password) + "\n")
            file.flush()
            os.fsync(fd)
        os.replace(name, path_of(state_dir))
    except BaseException:
        os.unlink(name)
        raise


def stored(state_dir: Path) -> str | None:
    """The hash as it is now, or None where there is none that can be read."""
    try:
        return path_of(state_dir).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        if _complaints.held_back("read") is not None:
            log.error("nobody can log in: %s cannot be read: %s", path_of(state_dir), error)
        return None


def make_first(state_dir: Path) -> None:
    """Makes a password where there is none yet, and says it in the journal, once. Raises OSError."""
    if path_of(state_dir).exists():
        return
    password = random_password()
    store(state_dir, password)
    log.warning(
        "the first password of the web page, for user %s: %s (`maltrail-collector password` makes another)",
        *(USER, password),
        extra={"MESSAGE_ID": FIRST_PASSWORD},
    )
