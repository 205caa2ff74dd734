"""The whitelist: names and addresses that no trail may be about."""

from __future__ import annotations

import socket
from collections.abc import Iterable

from d4sensor.indicator import IndicatorError, parse


class Whitelist:
    """Names with all that is below them, addresses and networks; also single places on the web."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        """``texts`` are indicators as trail files have them; what is none is passed over."""
        self._names: set[str] = set()
        # The first bits of the networks, by the size of the address in bytes and the bits behind them.
        self._networks: dict[tuple[int, int], set[int]] = {}
        for text in texts:
            try:
                key, network, pattern = parse(text)
            except IndicatorError:
                continue
            if network:
                size, rest = len(network.address), len(network.address) * 8 - network.prefix
                number = int.from_bytes(network.address, "big") >> rest
                self._networks.setdefault((size, rest), set()).add(number)
            elif not pattern:
                self._names.add(key)

    def holds(self, key: str) -> bool:
        """Whether the whitelist names this trail's key: a name or one above it, an address, an endpoint.

        Of a place on the web (``host/path``) it must name the place or the host's address.
        """
        names = self._names
        if key in names:
            return True
        host, slash, _ = key.partition("/")
        if host[-1:].isdigit() or ":" in host:
            return self._holds_address(host)
        suffix = "" if slash else key.partition(".")[2]
        while suffix:
            if suffix in names:
                return True
            suffix = suffix.partition(".")[2]
        return False

    def _holds_address(self, host: str) -> bool:
        """Whether it names the address of ``192.0.2.1``, ``192.0.2.1:80``, ``2001:db8::1``, ``[…]:80``."""
        if host.startswith("["):
            host = host[1:].partition("]")[0]
        elif "." in host:
            host = host.partition(":")[0]
        try:
            packed = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
        except (OSError, ValueError):
            return False
        number = int.from_bytes(packed, "big")
        return any(
            size == len(packed) and number >> rest in first for (size, rest), first in self._networks.items()
        )
