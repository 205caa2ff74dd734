"""What counts as one place from which somebody comes, where strangers are counted or slowed down."""

from __future__ import annotations

from ipaddress import ip_address, ip_network


def origin_of(address: str) -> str:
    """An IPv4 address, or the network /64 of an IPv6 address, which one host has whole there."""
    if ":" not in address:
        return address
    return str(ip_network((ip_address(address.partition("%")[0]), 64), strict=False))
