"""The blacklist: sensors, addresses and networks that are locked out."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from d4server import blacklist
from d4server.operations.kinds import ADDRESS_OR_NETWORK, PAGE, PAGE_SIZE, SEARCH
from d4server.operations.operation import OPERATORS, VIEWERS, Context, Missing, Page, operation, page_of


class Entry(NamedTuple):
    """Who is locked out; ``kind`` is sensor, address or network."""

    entry: str
    kind: str


@operation("GET", "/blacklist", VIEWERS)
async def _list(
    context: Context,
    *,
    search: Annotated[str, SEARCH] = "",
    page: Annotated[int, PAGE] = 1,
    size: Annotated[int, PAGE_SIZE] = 50,
) -> Page[Entry]:
    """All that is on the blacklist, by UUID, address or network."""
    entries = [each for each in await blacklist.entries(context.redis) if search.lower() in each]
    return page_of([Entry(each, _kind(each)) for each in entries], page, size)


@operation("POST", "/blacklist", OPERATORS)
async def add(context: Context, *, entry: Annotated[str, ADDRESS_OR_NETWORK]) -> None:
    """Lock a sensor, an address or a network out, also where it is connected."""
    await blacklist.add(context.redis, entry)


@operation("POST", "/blacklist/remove", OPERATORS)
async def remove(context: Context, *, entry: Annotated[str, ADDRESS_OR_NETWORK]) -> None:
    """Let somebody in again who is on the blacklist."""
    if not await blacklist.remove(context.redis, entry):
        raise Missing(f"{entry} is not on the blacklist; `d4-server blacklist list` shows what is")


def _kind(entry: str) -> str:
    if "/" in entry:
        return "network"
    return "address" if "." in entry or ":" in entry else "sensor"
