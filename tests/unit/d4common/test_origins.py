"""What counts as one place from which requests come."""

from __future__ import annotations

import pytest

from d4common.origins import origin_of


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2::7", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::8", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::7", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_an_address_or_a_network_of_ipv6(address: str, origin: str) -> None:
    assert origin_of(address) == origin
