"""Which role may do what another one may."""

from __future__ import annotations

import pytest

from d4server.actor import ADMINS, OPERATORS, REGISTRARS, VIEWERS, Role


@pytest.mark.parametrize("allowed", [ADMINS, OPERATORS, VIEWERS, REGISTRARS])
@pytest.mark.parametrize("role", Role)
def test_a_role_that_covers_another_may_do_all_that_it_may(role: Role, allowed: frozenset[Role]) -> None:
    assert role.covers(role)
    assert not any(role.covers(other) and other in allowed and role not in allowed for other in Role)


def test_nobody_covers_an_admin() -> None:
    assert [role for role in Role if role.covers(Role.ADMIN)] == [Role.ADMIN]
    assert not Role.VIEWER.covers(Role.REGISTRAR) and not Role.REGISTRAR.covers(Role.VIEWER)
