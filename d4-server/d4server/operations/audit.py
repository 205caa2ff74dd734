"""The audit trail, to be read."""

from __future__ import annotations

from typing import Annotated

from d4server import audit
from d4server.actor import ADMINS
from d4server.audit import DONE, REFUSED, Entry
from d4server.operations import kinds
from d4server.operations.kinds import PAGE, PAGE_SIZE, SEARCH
from d4server.operations.operation import Context, Page, operation

OUTCOME = kinds.choice(DONE, REFUSED).labelled("Outcome")


@operation("GET", "/audit", ADMINS)
async def _list(
    context: Context,
    *,
    outcome: Annotated[str, OUTCOME] = DONE,
    search: Annotated[str, SEARCH] = "",
    page: Annotated[int, PAGE] = 1,
    size: Annotated[int, PAGE_SIZE] = 50,
) -> Page[Entry]:
    """What users did, or were refused, the newest first; a search is in all that an entry holds."""
    found, total = await audit.find(context.redis, outcome, search, page, size)
    return Page(found, total, page, size)
