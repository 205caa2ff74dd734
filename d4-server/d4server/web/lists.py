"""Lists that an operation gives whole, searched and a page at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from d4server.operations import Invalid, Page
from d4server.operations.kinds import PAGE
from d4server.operations.operation import page_of
from d4server.web.visit import Visit

T = TypeVar("T")

SIZE = 50
"""Items on a page."""


def part(visit: Visit, found: Sequence[T]) -> Page[T]:
    """The page of a list that stands behind the question mark. Raises Invalid where that cannot be one."""
    try:
        return page_of(found, PAGE.take(visit.query.get("page", "1")), SIZE)
    except ValueError as error:
        raise Invalid({"page": str(error)}) from None


def searched(visit: Visit, found: Sequence[T], text: Callable[[T], str]) -> list[T]:
    """Those items whose text holds the words that were searched for, in any case."""
    words = visit.query.get("search", "").casefold().split()
    return [each for each in found if all(word in text(each).casefold() for word in words)]
