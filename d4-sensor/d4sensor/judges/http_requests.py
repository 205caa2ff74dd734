"""Suspicious requests: what a request shows without any trail. A function for each rule."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from d4sensor import heuristics, http
from d4sensor.indicator import address_text, single_slashes
from d4sensor.judges import Verdict, http_attacks


class Asked(NamedTuple):
    """What a request asks for: of whom, by name or address, with a port other than 80; and what, a path.

    ``name`` is the host without a port, ``named`` what the Host field has of that sort. The path consists of
    ``page`` and ``query``, with a question mark between; ``file`` is the last segment of the page. ``server``
    and ``port`` are where the request was sent.
    """

    request: http.Request
    host: str
    path: str
    name: str
    named: str
    page: str
    query: str
    file: str
    server: str
    port: int


Rule = Callable[[Asked], Verdict | None]


def asked(request: http.Request, server: str, port: int = 80) -> Asked:
    """What a request asks for that was sent to this address and port.

    The target itself may name the host: of a proxy it is asked for as a URL, or with CONNECT.
    """
    host, path = request.host or server, request.target
    name = named = name_of(request.host)
    if not path.startswith("/"):
        _, absolute, rest = path.partition("://")
        if absolute or request.method == "CONNECT":
            host, _, path = (rest if absolute else path).partition("/")
            path = "/" + path
            name = name_of(host)
    page, _, query = path.partition("?")
    file = page.rpartition("/")[2]
    host = host.removesuffix(":80")
    return Asked(request, host, path, name or server, named, page, query, file, server, port)


def name_of(host: str) -> str:
    """The name or address in what stands where a host does, perhaps with a port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".")


def iot_download(asked: Asked) -> Verdict | None:
    """Row 2: a file named after a processor or a shell, from a server that has no name. It stops.

    Not from a local address: there it is the network's own.
    """
    if not asked.named[-1:].isdigit() or not _BINARY.search(asked.file):
        return None
    if not _QUAD.fullmatch(asked.named) or is_local(asked.server):
        return None
    return _verdict("HTTP", f"({asked.host}){asked.path}", "potential iot-malware download (suspicious)")


def missing_host(asked: Asked) -> Verdict | None:
    """Row 4: a head that has ended without a Host field."""
    request = asked.request
    if request.host or not request.whole or http.field(request.fields, "host"):
        return None
    return _verdict("HTTP", asked.host + asked.path, "missing host header (suspicious)")


def proxy_probe(asked: Asked) -> Verdict | None:
    """Row 5: a web server on port 80 that is asked for a URL whose words tell of a search for proxies.

    It stops.
    """
    target = asked.request.target
    if asked.port != 80 or not target.startswith("http://") or not _PROBE.search(target):
        return None
    rest = asked.path[1:]
    text = f"http://{asked.name}/" + (f"({rest})" if rest else "")
    return _verdict("HTTP", text, "potential proxy probe (suspicious)")


def forwarded_for(request: http.Request) -> str:
    """Row 9: the address for which a proxy asks; empty if it says none. The first that is an address."""
    for name in ("cf-connecting-ip", "true-client-ip", "x-forwarded-for"):
        text = http.field(request.fields, name).partition(",")[0].strip()
        if text:
            if text.count(":") == 1 or text.startswith("["):
                text = name_of(text)
            try:
                return address_text(
                    socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
                )
            except (OSError, ValueError):
                continue
    return ""


def attack_in_target(asked: Asked) -> Verdict | None:
    """Row 10: an attack on a web application in what is asked for. It stops."""
    info = http_attacks.of(asked.path)
    if not info or _HARMLESS.search(asked.page):
        return None
    if info == http_attacks.DATA_LEAKAGE and is_local(asked.server):
        return None
    return _verdict("URL", _place(asked), f"{info} (suspicious)")


def attack_in_body(asked: Asked) -> Verdict | None:
    """Row 11: an attack on a web application in the body of a request. It stops."""
    if not asked.request.body:
        return None
    body = asked.request.body.decode("latin-1")
    info = http_attacks.of(body, query=True)
    if not info or _HARMLESS.search(asked.page):
        return None
    more = f" \\({asked.request.method} {_encoded(body.strip())}\\)"
    return _verdict("HTTP", _place(asked, more), f"{info} (suspicious)")


def direct_download(asked: Asked) -> Verdict | None:
    """Row 12: a program, a script or a shortcut with a short name, that is asked for as it is.

    Not from a local address, nor where programs are what a site is about, nor with parameters.
    """
    name, dot, extension = asked.file.rpartition(".")
    if extension not in _PROGRAMS or not dot or len(name) >= 10 or "=" in asked.query:
        return None
    if _PROGRAMS_EXPECTED.search(asked.path) or is_local(asked.server):
        return None
    return _verdict("URL", _place(asked), f"direct .{extension} download (suspicious)")


def suspicious_filename(asked: Asked) -> Verdict | None:
    """Row 13: a page that does not exist, and whose name says who asks for it."""
    if asked.file == "defaultwebpage.cgi":
        info = "non-existent page (suspicious)"
    elif "inexistent" in asked.file or asked.file in _SCANNED:
        info = "potential web scan (suspicious)"
    else:
        return None
    return _verdict("URL", _place(asked), info)


RULES: dict[str, Rule] = {
    "attack_in_target": attack_in_target,
    "attack_in_body": attack_in_body,
    "direct_download": direct_download,
    "suspicious_filename": suspicious_filename,
}
"""Rows 10 to 13, by the names under which they can be disabled. The first that has a verdict ends it."""


def is_local(address: str) -> bool:
    """Whether an address is one of those that have no meaning beyond a site (RFC 1918, 4193, 6598, …)."""
    parsed = ip_address(address)
    return any(parsed in network for network in _LOCAL if network.version == parsed.version)


_LOCAL = tuple(
    map(
        ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16", "100.64.0.0/10")
        + ("::1/128", "fc00::/7", "fe80::/10"),
    )
)
_QUAD = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
_BINARY = re.compile(
    r"(?:\A|[._-])(?:"
    r"aarch(?:64)?|amd64|arc(?:le)?|arm(?:v?[4-8]\w{0,3})?|i[3-6]86|m68k|mips(?:64)?(?:el)?|mpsl|pcc|ppc\d{0,3}"
    r"|powerpc|riscv(?:32|64)?|s390x?|sh4?|spc|sparc|x32|x64|x86(?:_64)?|exploit|root|wtf|yarn|zte"
    r")\Z"
)
_PROBE = re.compile(r"probe|proxy|echo|check")

# Words in a path, though not behind its question mark, that stand for other languages than those of the
# attacks: Facebook's and Yahoo's queries, advertisements, updates of Windows.
_HARMLESS = re.compile(r"/(?:ads|fql|gwx|yql)(?:/|\Z)")

_PROGRAMS = frozenset(
    ("apk", "bin", "chm", "class", "dll", "egg", "exe", "hta", "hwp", "lnk", "msi", "pif", "ps1")
    + ("pyz", "scr", "sct", "vsto", "wbk", "xpi")
)
_PROGRAMS_EXPECTED = re.compile(r"cgi|/(?:scripts|_vti_bin|bin|pub/softpaq|bios|pc-axis)/")
_SCANNED = frozenset(("muieblackcat", "nice%20ports%2c", "nmaplowercheck", "tri%6eity.txt%2ebak"))
_ENCODED = str.maketrans({" ": "%20", "(": "%28", ")": "%29", "\r": "%0D", "\n": "%0A"})


def _place(asked: Asked, more: str = "") -> str:
    """Host and path as an event tells them, without parentheses and ends of lines but its own."""
    return f"{asked.host}({_encoded(single_slashes(asked.path))}{more})"


def _encoded(text: str) -> str:
    return text.translate(_ENCODED)


def _verdict(type_: str, text: str, info: str) -> Verdict:
    return Verdict(type_, text, heuristics.trail(info))
