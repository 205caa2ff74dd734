"""Operations about one's own account, with a real Redis."""

from __future__ import annotations

import asyncio
import base64
import time
from pathlib import Path
from typing import Any

import pytest
from operating import do
from redis.asyncio import Redis
from storing import redis_at, run

from d4common import passwords, totp
from d4server import sessions, users
from d4server.config import ServerConfig
from d4server.operations import Actor, Context, Failed, Forbidden, Invalid, Missing, Role, perform

pytestmark = pytest.mark.usefixtures("cheap_hashes")

PASSWORD = "correct horse"


class Visitor:
    """Somebody in a session of a Redis at a socket."""

    def __init__(self, socket: Path, name: str = "bob") -> None:
        self.socket = socket
        self.name = name
        self.token = ""

    def log_in(self) -> None:
        async def open(redis: Redis) -> None:
            standing = await users.standing(redis, self.name)
            if standing is None:
                await users.create(redis, self.name, Role.OPERATOR)
                await users.set_password(redis, self.name, PASSWORD)
                standing = await users.standing(redis, self.name)
            assert standing is not None
            self.token = await sessions.open(redis, self.name, standing, "192.0.2.1", "Firefox")

        run(self.socket, open)

    def do(self, verb: str, **values: Any) -> Any:
        async def done() -> Any:
            async with redis_at(self.socket) as redis:
                session = await sessions.session_of(redis, self.token, "192.0.2.1")
                assert session is not None, "the session has ended"
                context = Context(redis, ServerConfig(), session.actor)
                return await perform(context, f"account.{verb}", values)

        return asyncio.run(done())

    def is_in(self) -> bool:
        found: list[object] = []

        async def look(redis: Redis) -> None:
            found.append(await sessions.session_of(redis, self.token, "192.0.2.1"))

        run(self.socket, look)
        return found != [None]


@pytest.fixture
def bob(redis_socket: Path) -> Visitor:
    visitor = Visitor(redis_socket)
    visitor.log_in()
    return visitor


def as_(actor: Actor, socket: Path, verb: str, **values: Any) -> Any:
    async def done() -> Any:
        async with redis_at(socket) as redis:
            return await perform(Context(redis, ServerConfig(), actor), f"account.{verb}", values)

    return asyncio.run(done())


def test_one_sees_who_one_is(bob: Visitor) -> None:
    account = bob.do("show")
    assert account[:5] == ("bob", Role.OPERATOR, False, False, 0)
    by_token = as_(Actor("bob", Role.VIEWER, "192.0.2.1", "token 0"), bob.socket, "show")
    assert by_token.role is Role.VIEWER
    with pytest.raises(Missing, match="root has no account"):
        as_(Actor("root", Role.ADMIN, "local", "command"), bob.socket, "show")


def test_another_password_is_chosen_by_who_knows_the_old_one(bob: Visitor) -> None:
    for old, new, problem in (
        ("wrong horse", "another horse", {"old": "is not right"}),
        (PASSWORD, PASSWORD, {"new": "must be another one than before"}),
        (PASSWORD, "short", {"new": "must have 10 characters at least"}),
    ):
        with pytest.raises(Invalid) as error:
            bob.do("change_password", old=old, new=new)
        assert error.value.problems == problem
    bob.do("change_password", old=PASSWORD, new="  another horse ")
    assert not bob.is_in()

    async def test(redis: Redis) -> None:
        hash = await users.hash_of(redis, "bob")
        assert hash and passwords.matches(hash, "  another horse ")

    run(bob.socket, test)


def test_whoever_has_stolen_a_session_does_not_find_out_the_password(bob: Visitor) -> None:
    for number in range(sessions.MOST_WRONG):
        with pytest.raises(Invalid):
            bob.do("begin_totp", password=f"guess {number}")
    with pytest.raises(Failed, match="this session has ended"):
        bob.do("change_password", old=PASSWORD, new="stolen horse")
    assert not bob.is_in()
    tried = do(bob.socket, "audit.list", outcome="refused").items
    assert len(tried) == sessions.MOST_WRONG and "guess" not in str(tried)
    assert {(each.user, each.action) for each in tried} == {("bob", "account.password")}
    bob.log_in()  # nobody else is locked out
    bob.do("change_password", old=PASSWORD, new="another horse")


@pytest.mark.parametrize(
    ("verb", "values"),
    [
        ("change_password", {"old": PASSWORD, "new": "another horse"}),
        ("begin_totp", {"password": PASSWORD}),
        ("confirm_totp", {"code": "123456"}),
        ("remove_totp", {"password": PASSWORD}),
    ],
)
@pytest.mark.parametrize("means", ["token 0123456789abcdef", "command"])
def test_it_takes_a_session(bob: Visitor, verb: str, values: dict[str, str], means: str) -> None:
    with pytest.raises(Forbidden, match="logged in on the page"):
        as_(Actor("bob", Role.OPERATOR, "192.0.2.1", means), bob.socket, verb, **values)


def test_an_app_is_set_up_in_two_steps_and_removed(bob: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    begun = bob.do("begin_totp", password=PASSWORD)
    assert begun.uri.startswith("otpauth://totp/D4%20")
    code = totp.code(base64.b32decode(begun.secret), int(now) // totp.STEP)
    with pytest.raises(Invalid, match="not the one that the app shows"):
        bob.do("confirm_totp", code=f"{(int(code) + 1) % 1000000:06}")
    assert not bob.do("show").totp
    codes = bob.do("confirm_totp", code=f"{code[:3]} {code[3:]}").codes
    assert bob.do("show")[3:5] == (True, len(codes)) and bob.is_in()
    with pytest.raises(Invalid, match="password is not right"):
        bob.do("remove_totp", password="wrong horse")
    bob.do("remove_totp", password=PASSWORD)
    assert bob.do("show")[3:5] == (False, 0)


def test_one_ends_ones_own_sessions_alone(bob: Visitor) -> None:
    elsewhere, alice = Visitor(bob.socket), Visitor(bob.socket, "alice")
    elsewhere.log_in()
    alice.log_in()
    listed = {each.id: each for each in bob.do("sessions")}
    assert len(listed) == 2 and listed[sessions.id_of(bob.token)].current
    other = listed[sessions.id_of(elsewhere.token)]
    assert (other.current, other.agent) == (False, "Firefox")
    with pytest.raises(Missing):
        alice.do("end_session", id=other.id)
    bob.do("end_session", id=other.id)
    assert (bob.is_in(), elsewhere.is_in()) == (True, False)
