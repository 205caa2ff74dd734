"""What heuristics have in common: the names by which they can be disabled, how an event refers to them."""

from __future__ import annotations

from d4sensor.trails import Trail

NAMES = frozenset(
    (
        *("port_scanning", "udp_scanning", "slow_scanning", "web_scanning", "infection", "beaconing"),
        *("long_domain", "dns_exhaustion", "no_such_domain", "dga", "sinkholed_answer", "parked_answer"),
        *("iot_download", "host_names", "proxy_probe", "user_agent", "forwarded_for"),
        *("attack_in_target", "attack_in_body", "direct_download", "suspicious_filename"),
        *("sinkhole_response", "seized_domain", "content_type"),
    )
)
"""Everything that can be disabled, by Maltrail's names where it has them: scans, DNS, HTTP."""

REFERENCE = "(heuristic)"


def trail(info: str) -> Trail:
    """What an event says of what no trail names."""
    return Trail(info, REFERENCE)
