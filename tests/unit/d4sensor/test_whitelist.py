"""What a whitelist holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4sensor.whitelist import Whitelist

LIST = Whitelist(
    ["good.tld", "www.fine.tld/files", "192.0.2.7", "198.51.100.0/24", "2001:db8::/32", "lan", "not one!"]
)


@pytest.mark.parametrize(
    "key",
    [
        "good.tld",
        "a.b.good.tld",
        "host.lan",
        "192.0.2.7",
        "192.0.2.7:443",
        "192.0.2.7/gate.php",
        "192.0.2.7:80/gate.php",
        "198.51.100.200",
        "2001:db8::1",
        "[2001:db8::1]:443",
        "fine.tld/files",
    ],
)
def test_held(key: str) -> None:
    assert LIST.holds(key)


@pytest.mark.parametrize(
    "key",
    [
        "tld",
        "notgood.tld",
        "good.tld.evil.tld",
        "good.tld/gate.php",
        "fine.tld",
        "192.0.2.70",
        "192.0.2.7.evil.tld",
        "198.51.101.0",
        "2001:db9::1",
        "/gate.php",
        "",
    ],
)
def test_not_held(key: str) -> None:
    assert not LIST.holds(key)


@given(st.text(alphabet="ab1.:/[]", max_size=20))
def test_any_key_is_held_or_not(key: str) -> None:
    assert not Whitelist().holds(key)
    assert LIST.holds(key) in (True, False)
