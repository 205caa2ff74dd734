"""The names by which heuristics can be disabled."""

from __future__ import annotations

import re
from pathlib import Path

from d4sensor import heuristics, judges
from d4sensor.judges import http, http_responses


def test_every_name_that_a_judge_asks_for_can_be_written() -> None:
    asked = {*http.NAMES, *http_responses.RULES}
    for module in Path(judges.__file__).parent.glob("*.py"):
        asked.update(re.findall(r'"(\w+)" (?:not )?in (?:self\._)?disabled', module.read_text()))
    asked.update(
        re.findall(
            r'"(\w+)" (?:not )?in disabled', Path(heuristics.__file__).with_name("engine.py").read_text()
        )
    )
    assert asked == heuristics.NAMES
