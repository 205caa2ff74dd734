"""Operations about the blacklist, with a real Redis."""

from __future__ import annotations

from pathlib import Path

import pytest
from operating import do

from d4server.operations import Invalid, Missing

UUID = "d43e5a4b-6a1f-4c5e-9d3b-0f2a7c1e8b90"


def test_whoever_is_on_it_is_listed_by_kind_until_taken_off(redis_socket: Path) -> None:
    for entry in (UUID, "192.0.2.7", "2001:db8::/32"):
        do(redis_socket, "blacklist.add", entry=entry)
    assert [tuple(each) for each in do(redis_socket, "blacklist.list").items] == [
        ("192.0.2.7", "address"),
        ("2001:db8::/32", "network"),
        (UUID, "sensor"),
    ]
    assert do(redis_socket, "blacklist.list", search="DB8").total == 1
    do(redis_socket, "blacklist.remove", entry="192.0.2.7")
    with pytest.raises(Missing, match=r"192.0.2.7 is not on the blacklist"):
        do(redis_socket, "blacklist.remove", entry="192.0.2.7")
    assert do(redis_socket, "blacklist.list").total == 2


def test_what_is_nobody_is_invalid(redis_socket: Path) -> None:
    with pytest.raises(Invalid, match="entry must be a UUID of version 4, an address, or a network"):
        do(redis_socket, "blacklist.add", entry="somebody")
