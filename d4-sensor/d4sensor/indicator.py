"""What one line of a trail file names: an address, an endpoint, a network, a name or a place on the web.

The syntax is Maltrail's, and so is the form in which an indicator is looked up later, its key: lower case,
no scheme, no ``www.``, no dot at either end. Addresses are written as RFC 5952 has them, and what is not
printable ASCII in a path as ``%nn``.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import warnings
from typing import NamedTuple
from urllib.parse import quote

from d4sensor.addresses import Network


class IndicatorError(ValueError):
    """The text names nothing that a packet could show; the message says why."""


class Indicator(NamedTuple):
    """A trail's key, and the addresses that a packet must have for it to matter, if it needs any.

    The key of a ``pattern`` is a regular expression, to be searched for in names.
    """

    key: str
    network: Network | None
    pattern: bool = False


def parse(text: str) -> Indicator:
    """The indicator that a line, free of comments, names. Raises IndicatorError.

    ``evil.tld``, ``.tld``, ``192.0.2.1``, ``192.0.2.1:443``, ``[2001:db8::1]:443``, ``192.0.2.0/24``,
    ``/path``, ``evil.tld/path``, ``http://evil.tld`` (whatever is asked of that host),
    ``evil[0-9]+.tld`` (a regular expression); fingerprints of certificates (SHA-1), JA3 and JA4.
    """
    written = text.strip()
    text = written.lower()
    name = text.strip(".")
    if _NAME.fullmatch(name) or _JA4.fullmatch(name):
        return _plain(name)
    _, scheme, rest = text.partition("://")
    if scheme:
        text = rest if "/" in rest else rest + "/"
    if "/" in text:
        if _NETWORK.fullmatch(text):
            return _network(text)
        return Indicator(_location(text), None)
    if _PATTERN.search(text.partition("]:")[2] or text.lstrip("[")):
        return _pattern(written)
    if ":" in text:
        return _endpoint(text)
    return _plain(_name(text.partition("?")[0]))


def address_text(address: bytes) -> str:
    """An address of 4 or 16 bytes as text: RFC 5952, whatever the version of Python."""
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


def endpoint_text(address: str, port: int) -> str:
    """The key of an address and a port."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def printable(text: str | bytes) -> str:
    """Text as it may stand in a URL, a log or a terminal: what is not printable ASCII is ``%NN``."""
    return quote(text, safe=_VISIBLE)


def without_www(name: str) -> str:
    """A name as trails have it: ``www.`` goes, unless nothing but a top-level domain would be left."""
    return _WWW.sub("", name) if name.startswith("www.") else name


def single_slashes(path: str) -> str:
    """A path as trails have it: slashes in a row are one."""
    return _SLASHES.sub("/", path) if "//" in path else path


def landmark(key: str) -> str:
    """What requests for a place on the web have in common with its key: the host, or the end of the path.

    ``host/`` where it has one; else a slash and the last segment before the question mark.
    """
    host, _, path = key.partition("/")
    if host:
        return host + "/"
    return "/" + path.partition("?")[0].rstrip("/").rpartition("/")[2]


_NAME = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9-]{1,63}")
_JA4 = re.compile(r"[a-z0-9]{10}_[0-9a-f]{12}_[0-9a-f]{12}")
_NETWORK = re.compile(r"(?:\d+\.\d+\.\d+\.\d+|[0-9a-f:]*:[0-9a-f:.]*)/\d{1,3}")
_PATTERN = re.compile(r"[][(){}*\\|^$+]")
_ORDINARY = "www.example.org"
_WWW = re.compile(r"\A(?:www\.)+(?=[^.]+\.)")
_VISIBLE = bytes(range(0x21, 0x7F)).decode()
_SLASHES = re.compile(r"/{2,}")
_PORT = re.compile(r"[0-9]{1,5}")
_HOST = re.compile(r"(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?")


def _name(text: str) -> str:
    """A name in the form in which it crosses the wire."""
    try:
        name = text.strip(".").encode("idna").decode()
    except UnicodeError:
        name = ""
    if not _NAME.fullmatch(name):
        raise IndicatorError(f"{text!r} is neither a name nor an address")
    return name


def _pattern(text: str) -> Indicator:
    """A regular expression, but none that an ordinary name could match by mistake."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of what may be meant otherwise
            pattern = re.compile(text)
    except (re.error, OverflowError, RecursionError, Warning) as error:
        raise IndicatorError(f"{text!r} is not a regular expression: {error}") from None
    if pattern.search(_ORDINARY) or re.search(r"\s", text):
        raise IndicatorError(f"{text!r} is not a pattern of names")
    return Indicator(text, None, pattern=True)


def _plain(name: str) -> Indicator:
    """What a name is: an address if its last label is a number."""
    if name[-1].isdigit() and name.rpartition(".")[2].isdigit():
        return _address(name)
    return Indicator(without_www(name), None)


def _packed(text: str) -> bytes:
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except (OSError, ValueError):
        raise IndicatorError(f"{text!r} is not an address") from None


def _address(text: str) -> Indicator:
    address = _packed(text)
    return Indicator(address_text(address), Network(address, len(address) * 8))


def _endpoint(text: str) -> Indicator:
    if not text.startswith("[") and text.count(":") > 1:
        return _address(text)
    host, _, port = text.rpartition(":")
    if not (_PORT.fullmatch(port) and 0 < int(port) < 65536):
        raise IndicatorError(f"{port!r} is not a port from 1 to 65535")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    address = _packed(host)
    return Indicator(endpoint_text(address_text(address), int(port)), Network(address, len(address) * 8))


def _network(text: str) -> Indicator:
    """The network of ``192.0.2.0/24`` and the like; with bits behind the prefix it is a host and a path."""
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        return Indicator(_location(text), None)
    address, prefix = network.network_address.packed, network.prefixlen
    if prefix == 0:
        raise IndicatorError("a network of all addresses is not a trail")
    key = address_text(address)
    if prefix < network.max_prefixlen:
        key = f"{key}/{prefix}"
    return Indicator(key, Network(address, prefix))


def _location(text: str) -> str:
    """The key of a path, or of a host and a path. Only the slash of a lone ``host/`` stays at the end."""
    host, _, path = text.partition("/")
    if host:
        host = without_www(host)
        if not _HOST.fullmatch(host):
            host = _name(host)
    elif not path.strip("/"):
        raise IndicatorError("a path names more than the slash")
    path = printable(path).lower()
    key = f"{host}{single_slashes('/' + path)}"
    return key.rstrip("/") if key.count("/") > 1 else key
