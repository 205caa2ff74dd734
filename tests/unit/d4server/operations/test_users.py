"""Operations about users, with a real Redis."""

from __future__ import annotations

from pathlib import Path

import pytest
from operating import do
from storing import run

from d4common import passwords
from d4server import sessions, users
from d4server.operations import Failed, Invalid, Missing, Role

pytestmark = pytest.mark.usefixtures("cheap_hashes")


@pytest.fixture
def alice(redis_socket: Path) -> str:
    """An admin, so that others need not stay one."""
    do(redis_socket, "users.create", name="alice", role="admin")
    return "alice"


def test_users_are_made_listed_and_found(redis_socket: Path, alice: str) -> None:
    made = do(redis_socket, "users.create", name="Bob@Example.org", role="operator")
    assert made.name == "bob@example.org" and len(made.password) == 23
    assert do(redis_socket, "users.create", name="carol").name == "carol"
    listed = do(redis_socket, "users.list")
    assert [(each.name, each.role) for each in listed.items] == [
        ("alice", Role.ADMIN),
        ("bob@example.org", Role.OPERATOR),
        ("carol", Role.VIEWER),
    ]
    assert [each.name for each in do(redis_socket, "users.list", search="OPER").items] == ["bob@example.org"]
    assert do(redis_socket, "users.show", name="BOB@example.org") == listed.items[1]


def test_the_password_that_is_shown_once_is_the_one(redis_socket: Path, alice: str) -> None:
    first = do(redis_socket, "users.create", name="bob").password
    second = do(redis_socket, "users.reset_password", name="bob").password

    async def test(redis: object) -> None:
        hash = await users.hash_of(redis, "bob")
        assert hash and passwords.matches(hash, second) and not passwords.matches(hash, first)

    run(redis_socket, test)


def test_what_becomes_of_a_user(redis_socket: Path, alice: str) -> None:
    do(redis_socket, "users.create", name="bob")
    do(redis_socket, "users.set_role", name="bob", role="admin")
    do(redis_socket, "users.disable", name="bob")
    found = do(redis_socket, "users.show", name="bob")
    assert (found.role, found.disabled) == (Role.ADMIN, True)
    do(redis_socket, "users.enable", name="bob")
    do(redis_socket, "users.remove_totp", name="bob")
    assert not do(redis_socket, "users.show", name="bob").disabled
    do(redis_socket, "users.delete", name="alice")
    with pytest.raises(Failed, match="bob is the only admin who can log in"):
        do(redis_socket, "users.delete", name="bob")
    assert do(redis_socket, "users.list").total == 1


@pytest.mark.parametrize(
    "verb", ["show", "disable", "enable", "reset_password", "remove_totp", "delete", "sessions", "set_role"]
)
def test_who_is_no_user_is_missing(redis_socket: Path, verb: str) -> None:
    more = {"role": "viewer"} if verb == "set_role" else {}
    with pytest.raises(Missing, match="there is no user bob"):
        do(redis_socket, f"users.{verb}", name="bob", **more)


def test_what_is_no_name_or_role_is_invalid(redis_socket: Path) -> None:
    with pytest.raises(Invalid) as error:
        do(redis_socket, "users.create", name="root", role="god")
    assert error.value.problems.keys() == {"name", "role"}


def test_an_admin_sees_and_ends_the_sessions_of_others(redis_socket: Path, alice: str) -> None:
    do(redis_socket, "users.create", name="bob")
    opened: list[str] = []

    async def open(redis: object) -> None:
        standing = await users.standing(redis, "bob")
        assert standing is not None
        opened.append(sessions.id_of(await sessions.open(redis, "bob", standing, "192.0.2.1", "Firefox")))

    run(redis_socket, open)
    (session,) = do(redis_socket, "users.sessions", name="bob")
    assert (session.id, session.address, session.agent) == (opened[0], "192.0.2.1", "Firefox")
    with pytest.raises(Missing, match="alice has no session"):
        do(redis_socket, "users.end_session", name="alice", id=session.id)
    do(redis_socket, "users.end_session", name="bob", id=session.id)
    assert do(redis_socket, "users.sessions", name="bob") == []
