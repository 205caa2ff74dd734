"""Suspicious requests, rule by rule: what each hits, what it just misses, and what it leaves out."""

from __future__ import annotations

import pytest

from d4sensor.http import Request, parse
from d4sensor.judges import Verdict, http_requests
from d4sensor.judges.http_requests import Asked, asked, forwarded_for, is_local, name_of

SERVER, LOCAL = "192.0.2.80", "10.0.0.80"


def get(target: str, host: str = "a.tld", server: str = SERVER, port: int = 80) -> Asked:
    """A GET request as a rule sees it."""
    return asked(Request("GET", target, host), server, port)


def post(body: bytes, target: str = "/x") -> Asked:
    """A POST request as a rule sees it."""
    return asked(Request("POST", target, "a.tld", body), SERVER, 80)


def shown(verdict: Verdict | None) -> tuple[str, str, str] | None:
    """Type, text and info of a verdict, whose reference says that it is a heuristic's."""
    if verdict is None:
        return None
    assert verdict.trail.reference == "(heuristic)"
    return verdict.type, verdict.text, verdict.trail.info


@pytest.mark.parametrize(
    ("method", "target", "host", "place", "name"),
    [
        ("GET", "/x?y", "a.tld", ("a.tld", "/x?y"), "a.tld"),
        ("GET", "/x", "a.tld:80", ("a.tld", "/x"), "a.tld"),
        ("GET", "/x", "a.tld:8080", ("a.tld:8080", "/x"), "a.tld"),
        ("GET", "/x", "a.tld.", ("a.tld.", "/x"), "a.tld"),
        ("GET", "/x", "[2001:db8::1]:8080", ("[2001:db8::1]:8080", "/x"), "2001:db8::1"),
        ("GET", "/x", "", (SERVER, "/x"), SERVER),
        ("GET", "http://b.tld/x", "a.tld", ("b.tld", "/x"), "b.tld"),
        ("GET", "http://b.tld", "a.tld", ("b.tld", "/"), "b.tld"),
        ("GET", "https://b.tld:443/x", "", ("b.tld:443", "/x"), "b.tld"),
        ("GET", "/x?u=http://b.tld/", "a.tld", ("a.tld", "/x?u=http://b.tld/"), "a.tld"),
        ("CONNECT", "b.tld:443", "a.tld", ("b.tld:443", "/"), "b.tld"),
        ("CONNECT", "b.tld:80", "b.tld:80", ("b.tld", "/"), "b.tld"),
        ("OPTIONS", "*", "a.tld", ("a.tld", "*"), "a.tld"),
    ],
)
def test_what_is_asked_for(method: str, target: str, host: str, place: tuple[str, str], name: str) -> None:
    found = asked(Request(method, target, host), SERVER, 80)
    assert ((found.host, found.path), found.name) == (place, name)


@pytest.mark.parametrize(
    ("host", "name"), [("", ""), ("[", ""), ("[::1", "::1"), (":80", ""), ("a:b:c", "a")]
)
def test_name_of_what_is_no_host(host: str, name: str) -> None:
    assert name_of(host) == name


@pytest.mark.parametrize(
    "target",
    ["/arm7", "/bins/mirai.arm7", "/x/y.mips", "/a_x86_64", "/x86", "/bins.sh", "/sh", "/i686", "/root?a=b"]
    + ["/m68k", "/jaws.sh4", "/a-aarch64", "/ppc440", "/mpsl"],
)
def test_iot_download(target: str) -> None:
    assert shown(http_requests.iot_download(get(target, SERVER))) == (
        "HTTP",
        f"({SERVER}){target}",
        "potential iot-malware download (suspicious)",
    )


def test_iot_download_from_any_port() -> None:
    verdict = http_requests.iot_download(get("/arm7", f"{SERVER}:8080", port=8080))
    assert verdict and verdict.text == f"({SERVER}:8080)/arm7"


@pytest.mark.parametrize(
    "given",
    [
        get("/arm7", "a.tld"),
        get("/arm7", ""),
        get("/arm7", LOCAL, LOCAL),
        get("/index.html", SERVER),
        get("/alarm", SERVER),
        get("/arm7/", SERVER),
        get("/arm7/x", SERVER),
        get("/x?arm7", SERVER),
        get("/crash", SERVER),
    ],
)
def test_no_iot_download(given: Asked) -> None:
    assert http_requests.iot_download(given) is None


def test_missing_host() -> None:
    request = parse(b"GET /x HTTP/1.1\r\nAccept: */*\r\n\r\n")
    assert shown(http_requests.missing_host(asked(request, SERVER))) == (
        "HTTP",
        f"{SERVER}/x",
        "missing host header (suspicious)",
    )


@pytest.mark.parametrize(
    "head",
    [
        b"GET /x HTTP/1.1\r\nHost: a.tld\r\n\r\n",
        b"GET /x HTTP/1.1\r\nhost: a b\r\n\r\n",
        b"GET /x HTTP/1.1\r\nAccept: */*\r\n",
        b"GET /x HTTP/1.1\r\nAccept",
    ],
)
def test_no_missing_host_where_one_is_or_may_follow(head: bytes) -> None:
    assert http_requests.missing_host(asked(parse(head), SERVER)) is None


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("http://a.tld/echo.php", "http://a.tld/(echo.php)"),
        ("http://a.tld:80/proxy", "http://a.tld/(proxy)"),
        ("http://a.tld:8080/x?probe=1", "http://a.tld/(x?probe=1)"),
        ("http://proxycheck.tld", "http://proxycheck.tld/"),
    ],
)
def test_proxy_probe(target: str, text: str) -> None:
    verdict = http_requests.proxy_probe(get(target))
    assert shown(verdict) == ("HTTP", text, "potential proxy probe (suspicious)")


@pytest.mark.parametrize(
    "given",
    [
        get("http://a.tld/x"),
        get("http://a.tld/echo", port=3128),
        get("/echo?u=http://a.tld"),
        get("https://a.tld/echo"),
    ],
)
def test_no_proxy_probe(given: Asked) -> None:
    assert http_requests.proxy_probe(given) is None


@pytest.mark.parametrize(
    ("field", "address"),
    [
        ("X-Forwarded-For: 198.51.100.7", "198.51.100.7"),
        ("x-forwarded-for:198.51.100.7, 10.0.0.1", "198.51.100.7"),
        ("CF-Connecting-IP: 198.51.100.7", "198.51.100.7"),
        ("True-Client-IP: 2001:DB8:0:0::7", "2001:db8::7"),
        ("X-Forwarded-For: 198.51.100.7:4711", "198.51.100.7"),
        ("X-Forwarded-For: [2001:db8::7]:4711", "2001:db8::7"),
        ("X-Forwarded-For: 198.51.100.8\r\nCF-Connecting-IP: 198.51.100.7", "198.51.100.7"),
        ("CF-Connecting-IP: x\r\nX-Forwarded-For: 198.51.100.7", "198.51.100.7"),
        ("X-Forwarded-For: unknown", ""),
        ("X-Forwarded-For: 198.51.100", ""),
        ("X-Forwarded-For: 1.2.3.4.5", ""),
        ("X-Forwarded-For: 999.1.1.1", ""),
        ("X-Forwarded-For: 198.51.100.7\0", ""),
        ("X-Forwarded-For: fe80::1%eth0", ""),
        ("X-Forwarded-For: ", ""),
        ("X-Forwarded-For: ,198.51.100.7", ""),
        ('X-Forwarded-For: "198.51.100.7" evil', ""),
        ("X-Forwarded-For-Me: 198.51.100.7", ""),
        ("Accept: */*", ""),
    ],
)
def test_forwarded_for(field: str, address: str) -> None:
    assert forwarded_for(parse(f"GET / HTTP/1.1\r\n{field}\r\n\r\n".encode())) == address


def test_attack_in_target() -> None:
    verdict = http_requests.attack_in_target(get("/a?id=1%20union%20all%20select%201"))
    text = "a.tld(/a?id=1%20union%20all%20select%201)"
    assert shown(verdict) == ("URL", text, "potential sql injection (suspicious)")


def test_text_of_an_attack_has_no_parentheses_of_its_own() -> None:
    verdict = http_requests.attack_in_target(get("//a?id=sleep(5)"))
    assert verdict and verdict.text == "a.tld(/a?id=sleep%285%29)"


@pytest.mark.parametrize("word", ["ads", "fql", "yql", "gwx"])
def test_attack_that_is_the_language_of_a_service(word: str) -> None:
    assert http_requests.attack_in_target(get(f"/x/{word}?q=select%20*")) is None
    assert http_requests.attack_in_target(get(f"/{word}/x?q=select%20*")) is None
    assert http_requests.attack_in_target(get(f"/x?{word}=select%20*")), "only the path excuses"
    assert http_requests.attack_in_target(get(f"/down{word}/x?q=select%20*")), "a word is a segment"


def test_data_leakage_is_none_within_the_network() -> None:
    leak = "/a?imei=490154203237518"
    assert shown(http_requests.attack_in_target(get(leak))) == (
        "URL",
        f"a.tld({leak})",
        "potential data leakage (suspicious)",
    )
    assert http_requests.attack_in_target(get(leak, server=LOCAL)) is None
    assert http_requests.attack_in_target(get("/a?id=sleep(5)", server=LOCAL))


def test_attack_in_body() -> None:
    verdict = http_requests.attack_in_body(post(b"id=1+union+select (1)\r\n"))
    text = r"a.tld(/x \(POST id=1+union+select%20%281%29\))"
    assert shown(verdict) == ("HTTP", text, "potential sql injection (suspicious)")


def test_attack_in_body_that_is_binary() -> None:
    verdict = http_requests.attack_in_body(post(b"\xff\x00\r\n<?php "))
    assert verdict and verdict.text == "a.tld(/x \\(POST \xff\x00%0D%0A<?php\\))"


@pytest.mark.parametrize(
    "given", [post(b""), post(b"id=1"), post(b"q=select+*", "/fql"), get("/x?id=sleep(5)")]
)
def test_no_attack_in_body(given: Asked) -> None:
    assert http_requests.attack_in_body(given) is None


@pytest.mark.parametrize("extension", sorted(http_requests._PROGRAMS))
def test_direct_download(extension: str) -> None:
    assert shown(http_requests.direct_download(get(f"/x/setup.{extension}?v"))) == (
        "URL",
        f"a.tld(/x/setup.{extension}?v)",
        f"direct .{extension} download (suspicious)",
    )


@pytest.mark.parametrize(
    "given",
    [
        get("/setup.exe", server=LOCAL),
        get("/setup.exe?v=1"),
        get("/setup.zip"),
        get("/exe"),
        get("/setup.exe/x"),
        get("/x?setup.exe"),
        get("/long-setup.exe"),
        get("/bin/setup.exe"),
        get("/scripts/setup.exe"),
        get("/cgi/setup.exe"),
        get("/pub/softpaq/sp1.exe"),
    ],
)
def test_no_direct_download(given: Asked) -> None:
    assert http_requests.direct_download(given) is None


@pytest.mark.parametrize(
    ("name", "info"),
    [
        ("defaultwebpage.cgi", "non-existent page (suspicious)"),
        ("acunetix-wvs-test-for-some-inexistent-file", "potential web scan (suspicious)"),
        ("inexistent_file_name.inexistent0123456789.cfm", "potential web scan (suspicious)"),
        ("nmaplowercheck", "potential web scan (suspicious)"),
    ],
)
def test_suspicious_filename(name: str, info: str) -> None:
    verdict = http_requests.suspicious_filename(get(f"/x/{name}?y"))
    assert shown(verdict) == ("URL", f"a.tld(/x/{name}?y)", info)


@pytest.mark.parametrize("target", ["/", "/x.cgi", "/x?defaultwebpage.cgi", "/nmaplowercheck/x", "/existent"])
def test_no_suspicious_filename(target: str) -> None:
    assert http_requests.suspicious_filename(get(target)) is None


@pytest.mark.parametrize(
    ("address", "local"),
    [
        *(("10.1.2.3", True), ("172.31.0.1", True), ("192.168.0.1", True), ("127.0.0.1", True)),
        *(("100.64.0.1", True), ("169.254.1.1", True), ("fd00::1", True), ("fe80::1", True), ("::1", True)),
        *(("192.0.2.1", False), ("172.32.0.1", False), ("8.8.8.8", False), ("2001:db8::1", False)),
    ],
)
def test_local(address: str, local: bool) -> None:
    assert is_local(address) == local
