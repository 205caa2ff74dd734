"""How a benchmark says what it measured: one line of JSON for each figure."""

from __future__ import annotations

import json


def show(name: str, value: float, unit: str, **details: object) -> None:
    """Prints a figure; ``details`` say under which conditions it holds."""
    print(json.dumps({"figure": name, "value": round(value, 3), "unit": unit, **details}), flush=True)
