"""What processes have taken of the cores."""

from __future__ import annotations

import os
from pathlib import Path


def of_tree(pid: int) -> float:
    """Seconds of a core that a process and its children have used, those included that it has waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0.0
    own = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return own + sum(of_tree(int(child)) for child in children)
