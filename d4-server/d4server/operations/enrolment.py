"""Enrolment tokens: each lets one sensor in without approval, once, until it ends."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from d4server import admission
from d4server.admission import Token
from d4server.operations import kinds
from d4server.operations.operation import OPERATORS, Context, Missing, operation

VALID = kinds.span("1s", "366d").labelled("Valid for")
ID = kinds.matching("[0-9a-f]{16}", "a token's id: 16 hexadecimal digits").labelled("Token")


class Issued(NamedTuple):
    """A token, which is not shown again."""

    token: str


@operation("GET", "/enrolment/tokens", OPERATORS)
async def _list(context: Context) -> list[Token]:
    """Tokens that can be used, those that end first before the others."""
    return await admission.tokens(context.redis)


@operation("POST", "/enrolment/tokens", OPERATORS)
async def issue(
    context: Context,
    *,
    name: Annotated[str, kinds.text(64).labelled("Sensor's name")] = "",
    valid: Annotated[float, VALID] = 86400.0,
) -> Issued:
    """Make a token that lets one sensor in that has it; it is in the answer, and nowhere else."""
    return Issued(await admission.new_token(context.redis, name, valid))


@operation("DELETE", "/enrolment/tokens/{id}", OPERATORS)
async def withdraw(context: Context, *, id: Annotated[str, ID]) -> None:
    """Have a token let nobody in any more."""
    if not await admission.withdraw(context.redis, id):
        raise Missing(f"there is no token {id} that can be used")
