"""What heuristics that count by name keep when there are too many names."""

from __future__ import annotations

from collections.abc import Sized
from typing import TypeVar

_Held = TypeVar("_Held", bound=Sized)


def heaviest(tallies: dict[str, _Held], room: int) -> dict[str, _Held]:
    """Those tallies that hold more than they do on average; none where these hold more than ``room``.

    So a flood of names of which each is seen once does not hide one that is seen often.
    """
    total = sum(map(len, tallies.values()))
    heavy = {name: tally for name, tally in tallies.items() if len(tally) * len(tallies) > total}
    return heavy if sum(map(len, heavy.values())) <= room else {}
