"""Who does something, and what the roles are; for those who let somebody in and for what is done then."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Role(StrEnum):
    """What a user, or a token, may do."""

    ADMIN = "admin"
    OPERATOR = "operator"
    VIEWER = "viewer"
    REGISTRAR = "registrar"

    def covers(self, other: Role) -> bool:
        """Whether who has this role may do all that ``other`` may."""
        return other in _COVERED[self]


VIEWERS = frozenset({Role.ADMIN, Role.OPERATOR, Role.VIEWER})
OPERATORS = frozenset({Role.ADMIN, Role.OPERATOR})
ADMINS = frozenset({Role.ADMIN})
REGISTRARS = OPERATORS | {Role.REGISTRAR}
EVERYBODY: frozenset[Role] = frozenset(Role)

_COVERED = {
    Role.ADMIN: EVERYBODY,
    Role.OPERATOR: EVERYBODY - ADMINS,
    Role.VIEWER: frozenset({Role.VIEWER}),
    Role.REGISTRAR: frozenset({Role.REGISTRAR}),
}


class Actor(NamedTuple):
    """Who does it: a user's name (or ``root`` for the command), from which address, and by what.

    ``means`` is ``command``, or ``session`` or ``token`` with the id of that one behind it.
    """

    name: str
    role: Role
    address: str
    means: str
