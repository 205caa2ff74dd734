"""Addresses against networks, many at a time."""

from __future__ import annotations

from ipaddress import IPv4Network, ip_address, ip_network

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from d4sensor.addresses import Addresses, Network

networks4 = st.builds(
    lambda number, prefix: ip_network((number, prefix), strict=False),
    st.integers(0, 2**32 - 1),
    st.integers(1, 32),
)


def held4(networks: list[str], *addresses: str) -> list[bool]:
    """Which of these IPv4 addresses the networks hold."""
    numbers = np.array([int(ip_address(address)) for address in addresses], dtype=np.uint32)
    return [bool(held) for held in of(networks).hold4(numbers)]


def of(networks: list[str]) -> Addresses:
    """The set of these networks."""
    parsed = map(ip_network, networks)
    return Addresses.of(Network(network.network_address.packed, network.prefixlen) for network in parsed)


def test_address_is_held_and_its_neighbours_are_not() -> None:
    around = ("192.0.2.6", "192.0.2.7", "192.0.2.8", "0.0.0.0", "255.255.255.255")
    assert held4(["192.0.2.7/32"], *around) == [False, True, False, False, False]


def test_network_is_held_from_its_first_address_to_its_last() -> None:
    edges = ("198.50.255.255", "198.51.0.0", "198.51.255.255", "198.52.0.0")
    assert held4(["198.51.0.0/16"], *edges) == [False, True, True, False]


def test_network_around_another_is_held_behind_it() -> None:
    assert held4(["10.0.0.0/8", "10.1.0.0/24"], "10.1.0.5", "10.200.0.1", "11.0.0.1") == [True, True, False]


def test_nothing_is_held_by_no_networks() -> None:
    assert held4([], "192.0.2.7") == [False]
    assert not of([]).hold6(np.array([0], dtype=np.uint64)).any()


def test_ends_of_the_address_space() -> None:
    assert held4(["0.0.0.0/32", "255.255.255.255/32"], "0.0.0.0", "0.0.0.1", "255.255.255.255") == [
        True,
        False,
        True,
    ]


def test_ipv6_is_held_by_its_upper_half() -> None:
    upper = [int(ip_address(a)) >> 64 for a in ("2001:db8:1::", "2001:db8:1:0::ffff", "2001:db8:2::", "::")]
    numbers = np.array(upper, dtype=np.uint64)
    assert of(["2001:db8:1::7/128"]).hold6(numbers).tolist() == [True, True, False, False]
    assert of(["2001:db8::/32"]).hold6(numbers).tolist() == [True, True, True, False]


@given(st.lists(networks4, max_size=8), st.lists(st.integers(0, 2**32 - 1), max_size=8))
def test_held_is_what_some_network_contains(networks: list[IPv4Network], numbers: list[int]) -> None:
    addresses = Addresses.of(Network(n.network_address.packed, n.prefixlen) for n in networks)
    # Addresses at random rarely hit: the edges of the networks are asked too.
    numbers = numbers + [int(n[0]) for n in networks] + [int(n[-1]) for n in networks]
    numbers += [number ^ 1 for number in numbers]
    held = addresses.hold4(np.array(numbers, dtype=np.uint32))
    assert held.tolist() == [any(ip_address(number) in n for n in networks) for number in numbers]
