"""Names as the judges of DNS have them when there are many."""

from __future__ import annotations

import frames
import numpy as np

from d4sensor.judges import dns_rows
from d4sensor.judges.dns_rows import WIDTH, Names


def rows_of(*names: str) -> Names:
    """These names, as questions have them."""
    written = [frames.dns_name(name) for name in names]
    questions = np.frombuffer(b"".join(each.ljust(WIDTH, b"x") for each in written), np.uint8)
    size = np.array([len(each) - 1 for each in written], dtype=np.intp)
    labels = np.array([name.count(".") + 1 for name in names], dtype=np.intp)
    return dns_rows.names(questions.reshape(-1, WIDTH), size, labels)
