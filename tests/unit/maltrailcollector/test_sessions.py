"""Sessions and how they end."""

from __future__ import annotations

import pytest

from maltrailcollector import sessions
from maltrailcollector.sessions import Sessions


def test_a_session_is_valid_until_it_is_closed() -> None:
    known = Sessions()
    one, other = known.open("hash"), known.open("hash")
    assert one != other and len(one) >= 43
    known.close(one)
    known.close("no token")
    assert not known.valid(one, "hash")
    assert known.valid(other, "hash")
    assert not known.valid("", "hash")


@pytest.mark.parametrize("hash", ["another", None])
def test_a_new_password_ends_it(hash: str | None) -> None:
    known = Sessions()
    token = known.open("hash")
    assert not known.valid(token, hash)
    assert not known.valid(token, "hash")


def test_it_ends_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "LIFETIME", -1)
    known = Sessions()
    assert not known.valid(known.open("hash"), "hash")


def test_one_too_many_ends_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MOST", 2)
    known = Sessions()
    tokens = [known.open("hash") for _ in range(3)]
    assert [known.valid(token, "hash") for token in tokens] == [False, True, True]
