"""Who is on the blacklist."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4common.session import Reason, Refused
from d4server import blacklist
from d4server.blacklist import Blacklist

SENSOR = UUID("ff7ba400-e76c-4053-982d-feec42bdef38")
OTHER = UUID("0e1a3c54-0b9c-4d1e-8c57-c39e3f3b1a11")


def of(*listed: str, kicked: tuple[str, ...] = ()) -> Blacklist:
    made = Blacklist()
    made.take(frozenset(entry.encode() for entry in listed), [sensor.encode() for sensor in kicked])
    return made


def reason(listed: Blacklist, address: str, sensor: UUID) -> Reason | None:
    try:
        listed.check(address, sensor)
    except Refused as refusal:
        return refusal.reason
    return None


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1/32", "192.0.2.1"),
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("192.0.2.0/255.255.255.0", "192.0.2.0/24"),
        ("2001:DB8:0::/32", "2001:db8::/32"),
        ("2001:db8::1/128", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        (SENSOR.hex, str(SENSOR)),
        (str(SENSOR).upper(), str(SENSOR)),
    ],
)
def test_an_entry_has_one_form(text: str, entry: str) -> None:
    assert blacklist.parse(text) == entry


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("192.0.2.1/24", "192.0.2.0/24 is"),
        ("example.org", "must be a UUID"),
        ("", "must be a UUID"),
        ("192.0.2", "must be a UUID"),
        ("00000000-0000-0000-0000-000000000000", "must be a UUID of version 4"),
    ],
)
def test_what_is_no_entry_is_said(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        blacklist.parse(text)


@given(st.text() | st.from_regex(r"[0-9a-f:./%]{1,30}"))
def test_any_text_is_an_entry_or_an_error(text: str) -> None:
    try:
        entry = blacklist.parse(text)
    except ValueError:
        return
    assert blacklist.parse(entry) == entry


@given(
    st.lists(st.ip_addresses().flatmap(lambda ip: st.tuples(st.just(ip), st.integers(0, ip.max_prefixlen)))),
    st.data(),
)
def test_it_knows_in_which_network_an_address_lies(
    networks: list[tuple[IPv4Address | IPv6Address, int]], data: st.DataObject
) -> None:
    """As the slow way of looking does."""
    listed = [ip_network(f"{ip}/{length}", strict=False) for ip, length in networks]
    near = [ip for ip, _ in networks]
    address = data.draw(st.sampled_from(near) | st.ip_addresses() if near else st.ip_addresses())
    expected = {blacklist.parse(str(network)) for network in listed if address in network}
    found = of(*map(str, listed)).network_of(str(address))
    assert (found in expected) if expected else found is None


def test_sensors_and_networks_are_refused() -> None:
    listed = of(str(SENSOR), "2001:db8::/32", "192.0.2.1")
    assert reason(listed, "198.51.100.1", SENSOR) is Reason.BLACKLIST
    assert reason(listed, "2001:db8::1%eth0", OTHER) is Reason.BLACKLIST
    assert reason(listed, "192.0.2.1", OTHER) is Reason.BLACKLIST
    assert reason(listed, "192.0.2.2", OTHER) is None


def test_who_was_kicked_is_refused_meanwhile() -> None:
    listed = of(kicked=(str(SENSOR), "nonsense"))
    assert reason(listed, "192.0.2.1", SENSOR) is Reason.KICKED
    assert reason(listed, "192.0.2.1", OTHER) is None
    assert listed.take(frozenset(), ())
    assert reason(listed, "192.0.2.1", SENSOR) is None


def test_it_says_whether_anything_is_new() -> None:
    listed = Blacklist()
    assert not listed.take(frozenset(), ())
    assert listed.take(frozenset({b"192.0.2.1"}), ())
    assert not listed.take(frozenset({b"192.0.2.1"}), ())
    assert listed.take(frozenset({b"192.0.2.1"}), (str(SENSOR).encode(),))
    assert not listed.take(frozenset({b"192.0.2.1"}), (str(SENSOR).encode(),))


def test_what_somebody_else_wrote_into_it_does_no_harm() -> None:
    listed = of("", "nonsense", "300.1.1.1", str(SENSOR))
    assert listed.take(frozenset({b"\xff\xfe", str(SENSOR).encode()}), ())
    assert reason(listed, str(ip_address("192.0.2.1")), SENSOR) is Reason.BLACKLIST
