"""HTTP requests: URL trails, names of hosts, and the order of all rules."""

from __future__ import annotations

from collections import Counter

import frames
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sensing import batch, events, told, trails_of

from d4sensor import flow as flows
from d4sensor import http as messages
from d4sensor.engine import Engine
from d4sensor.heads import Heads
from d4sensor.indicator import parse
from d4sensor.judges import http, http_requests
from d4sensor.judges.http import MAX_TEXT, NAMES, HttpJudge, forms_of
from d4sensor.sieve import sieve
from d4sensor.trails import Trail, Trails

CLIENT, SERVER = "10.0.0.1", "192.0.2.80"
LOCAL, ALLOWED = "10.0.0.80", "198.51.100.9"
"""Servers: one of the network itself, and one that is whitelisted."""


def ask(host: str, target: str, method: str = "GET", body: bytes = b"", server: str = SERVER) -> bytes:
    """A request on the wire."""
    return frames.tcp(CLIENT, 4000, server, 80, frames.request(host, target, method, body))


pieces = st.lists(st.sampled_from(["/", "/", "a", "b.c", "?", "=", "&", "x="]), max_size=9).map("".join)


@given(
    st.lists(st.builds("{}/{}".format, st.sampled_from(["", "", "a", "b.c", "a?"]), pieces), max_size=4),
    st.lists(
        st.tuples(
            st.sampled_from(["a", "www.a", "b.c", "a/b.c", "/a", "a?"]),
            pieces,
            st.sampled_from(["", "a=b", "/x"]),
        ),
        max_size=6,
    ),
)
@example(["/?"], [("a", "a/a/?", "")])
@example(["/a=b/c"], [("a", "a=b/c/d", "")])
@example(["a/b/c"], [("a/b", "c", "")])
@example(["/?x="], [("a", "b/?x=1/y=2", "")])
def test_of_many_requests_those_are_suspected_on_which_there_is_a_verdict(
    keys: list[str], asked: list[tuple[str, str, str]]
) -> None:
    trails = Trails({key: Trail("bad", "(static)") for key in keys}, [])
    requests = [
        http_requests.asked(messages.Request("GET", f"/{target}", host, body.encode()), "::")
        for host, target, body in asked
    ]
    found = {n for n, request in enumerate(requests) if http.of(request, trails)}
    assert http.suspected(requests, trails) == found


@pytest.mark.parametrize(
    ("trail", "host", "target", "text"),
    [
        ("/gate.php", "a.tld", "/gate.php", "(a.tld)/gate.php"),
        ("/gate.php", "a.tld", "/Gate.PHP", "(a.tld)/gate.php"),
        ("/gate.php", "a.tld", "/gate.php?id=7", "(a.tld)/gate.php(?id=7)"),
        ("/gate.php", "a.tld", "//gate.php/", "(a.tld/)/gate.php(/)"),
        ("/gate.php", "a.tld", "/x/gate.php", "(a.tld/x)/gate.php"),
        ("/gate.php", "a.tld", "/x/gate.php?y=z", "(a.tld/x)/gate.php(?y=z)"),
        ("/gate.php", "a.tld", "/x/gate.php?y=z&u=/v", "(a.tld/x)/gate.php(?y=z&u=/v)"),
        ("/x", "a.tld", "/x/gate.php", "(a.tld)/x(/gate.php)"),
        ("/gate.php?id=", "a.tld", "/gate.php?id=7", "(a.tld)/gate.php?id=(7)"),
        ("/gate.php?id=&s=", "a.tld", "/gate.php?id=7&s=1", "(a.tld/gate.php?id=7&s=1)"),
        ("/gate.php?id=&s=", "a.tld", "/x/gate.php?id=7&s=1", "(a.tld/x/gate.php?id=7&s=1)"),
        ("a.tld/gate.php", "a.tld", "/gate.php", "a.tld/gate.php"),
        ("a.tld/gate.php", "www.a.tld", "/gate.php", "(www.)a.tld/gate.php"),
        ("a.tld/gate.php", "b.tld", "/gate.php", None),
        ("a.tld/gate.php", "a.tld:80", "/gate.php", "a.tld/gate.php"),
        ("a.tld:8080/gate.php", "a.tld:8080", "/gate.php", "a.tld:8080/gate.php"),
        ("http://a.tld", "a.tld", "/anything/else", "a.tld/"),
        ("http://a.tld", "b.a.tld", "/", None),
        ("http://192.0.2.80/x.sh", "", "/x.sh", "192.0.2.80/x.sh"),
        ("http://192.0.2.80/x.php", "192.0.2.80", "/x.php", "192.0.2.80/x.php"),
        ("/gäte.php", "a.tld", "/g%C3%A4te.php", "(a.tld)/g%c3%a4te.php"),
        ("/gäte.php", "a.tld", "/gäte.php", "(a.tld)/g%c3%a4te.php"),
        ("/gate.php", "a.tld", "/index.html", None),
    ],
)
def test_paths_and_urls(trail: str, host: str, target: str, text: str | None) -> None:
    found = told({trail: "bad"}, ask(host, target))
    assert found == ([f"{CLIENT} 4000 {SERVER} 80 TCP URL {text}"] if text else [])


def test_absolute_target_and_connect_name_the_host() -> None:
    trails = {"a.tld/x": "bad", "http://evil.tld:443": "bad"}
    assert told(trails, ask("proxy.tld", "http://a.tld/x"))[0].endswith(" URL a.tld/x")
    assert told(trails, ask("proxy.tld", "http://a.tld:80/x"))[0].endswith(" URL a.tld/x")
    assert told(trails, ask("proxy.tld", "evil.tld:443", "CONNECT"))[0].endswith(" URL evil.tld:443/")


@pytest.mark.parametrize(
    ("host", "target", "method", "texts"),
    [
        ("evil.tld", "/", "GET", ["evil.tld"]),
        ("www.Evil.TLD:8080", "/", "GET", ["(www).evil.tld"]),
        ("evil.tld.", "/", "GET", ["evil.tld"]),
        ("proxy.tld", "http://x.evil.tld/", "GET", ["(x).evil.tld"]),
        ("proxy.tld", "evil.tld:443", "CONNECT", ["evil.tld"]),
        ("evil.tld:443", "evil.tld:443", "CONNECT", ["evil.tld"]),
        ("evil.tld", "http://x.evil.tld/", "GET", ["evil.tld", "(x).evil.tld"]),
        ("notevil.tld", "/?u=http://evil.tld/", "GET", []),
        ("a.tld", "http://evil.tld/?x=wget+http://b.tld/y", "GET", []),
        ("evil", "/", "GET", []),
        ("[2001:db8::1]:80", "/", "GET", []),
        ("198.51.100.7", "/", "GET", []),
    ],
)
def test_names_of_hosts(host: str, target: str, method: str, texts: list[str]) -> None:
    found = told({"evil.tld": "bad"}, ask(host, target, method))
    assert [line for line in found if " DNS " in line] == [
        f"{CLIENT} 4000 {SERVER} 80 TCP DNS {text}" for text in texts
    ]


def test_body_of_a_post_is_a_query() -> None:
    trail = {"/gate.php?cmd=knock": "bad"}
    (event,) = events(trail, ask("a.tld", "/gate.php", "POST", b"cmd=Kno%63k"))
    assert event.type == "HTTP"
    assert event.trail == r"a.tld(/gate.php \(POST cmd=Kno%63k\))"
    assert told(trail, ask("a.tld", "/gate.php", "POST", b"cmd=other")) == []


def test_port_does_not_matter() -> None:
    packet = frames.tcp(CLIENT, 1, SERVER, 31337, frames.request("a.tld", "/gate.php"))
    assert len(told({"/gate.php": "bad"}, packet)) == 1


def test_forms_of_a_path_in_their_order() -> None:
    assert forms_of("/a/b.php?x=1&y=2", "") == [
        "/a/b.php?x=1&y=2",
        "/a/b.php",
        "/a/b.php?x=",
        "/a/b.php?x=&y=",
        "/b.php?x=&y=",
        "/a",
        "/b.php",
    ]
    assert forms_of("/a/b/c/", "") == ["/a/b/c", "/a/b", "/c"]
    assert forms_of("/a?b", "") == ["/a?b", "/a"]
    assert forms_of("/a?x=b=c&y=/d&=e", "")[2:5] == ["/a?x=", "/a?x==c&y=&=e"]
    assert forms_of("/a", "K=%41/x") == ["/a", "/a?k=a/x"]
    assert forms_of("/", "") == []


def test_long_path_takes_no_longer_than_its_length() -> None:
    # Were every character tried as the beginning of a parameter, this would take hours.
    assert forms_of("/x?" + "a" * 1_000_000, "")[1] == "/x"


def test_listed_server_is_told_with_its_name() -> None:
    start = f"{CLIENT} 4000 {SERVER} 80 TCP"
    assert f"{start} IP {SERVER} (a.tld)" in told({SERVER: "bad"}, ask("a.tld:8080", "/"))
    assert f"{start} IP 192.0.2.0/24 (a.tld)" in told({"192.0.2.0/24": "bad"}, ask("a.tld", "/"))
    for trail, host in ((SERVER, SERVER), (SERVER, ""), (CLIENT, "a.tld")):
        assert not [line for line in told({trail: "bad"}, ask(host, "/")) if "(" in line]


def test_listed_server_and_bad_path_are_two_events() -> None:
    found = told({SERVER: "bad", "/x": "bad"}, ask("a.tld", "/x"))
    assert [line for line in found if "(a.tld)" in line] == [
        f"{CLIENT} 4000 {SERVER} 80 TCP IP {SERVER} (a.tld)",
        f"{CLIENT} 4000 {SERVER} 80 TCP URL (a.tld)/x",
    ]


def test_text_is_short_enough_for_a_datagram() -> None:
    long = "/x?" + "y" * 5000
    (event,) = events({"/x": "bad"}, ask("a.tld", long))
    assert len(event.trail) == MAX_TEXT


def test_what_is_counted() -> None:
    engine = Engine(trails_of({"/x": "bad"}), "sensor")
    mail = frames.tcp(CLIENT, 1, SERVER, 25, b"EHLO a.tld is no request\r\n")
    assert engine.judge(batch(mail, ask("a.tld", "/"), ask("b.tld", "/"))) == []
    assert (engine.counts["http_requests"], engine.counts["http_malformed"]) == (2, 1)


def verdicts(
    packet: bytes,
    trails: Trails | None = None,
    disabled: frozenset[str] = frozenset(),
    check_missing_host: bool = False,
) -> list[str]:
    """Source, type, text and info of what a judge says of a packet."""
    counts: Counter[str] = Counter()
    judge = HttpJudge(trails or trails_of({}), ("sqlmap",), disabled, check_missing_host)
    found = judge.judge(Heads().add(sieve(batch(packet), counts), counts), counts)
    return [f"{f.flow.src_ip} {f.verdict.type} {f.verdict.text} {f.verdict.trail.info}" for f in found]


def sent(head: str, port: int = 80, server: str = SERVER) -> bytes:
    """A request with these lines on the wire."""
    return frames.tcp(CLIENT, 4000, server, port, head.replace("\n", "\r\n").encode() + b"\r\n\r\n")


SQL = "/a?id=1%20union%20select%201"
DOWNLOAD = "direct .exe download (suspicious)"
PROBE = "potential proxy probe (suspicious)"
AGENT = f"{CLIENT} UA sqlmap user agent (suspicious)"


def test_rules_in_their_order() -> None:
    trails = trails_of({SERVER: "bad", "evil.tld": "bad", "b.evil.tld": "bad"})
    found = verdicts(sent(f"GET http://b.evil.tld{SQL} HTTP/1.1\nHost: evil.tld\nUser-Agent: sqlmap"), trails)
    assert found == [
        f"{CLIENT} IP {SERVER} (evil.tld) bad",
        f"{CLIENT} DNS evil.tld bad",
        f"{CLIENT} DNS b.evil.tld bad",
        AGENT,
        f"{CLIENT} URL b.evil.tld({SQL}) potential sql injection (suspicious)",
    ]


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (
            f"GET /x/arm7 HTTP/1.1\nHost: {SERVER}\nUser-Agent: sqlmap",
            [f"{CLIENT} HTTP ({SERVER})/x/arm7 potential iot-malware download (suspicious)"],
        ),
        (
            f"GET http://a.tld/echo/x{SQL} HTTP/1.1\nHost: a.tld\nUser-Agent: sqlmap",
            [f"{CLIENT} HTTP http://a.tld/(echo/x{SQL}) potential proxy probe (suspicious)"],
        ),
        (
            f"GET /listed{SQL[2:]} HTTP/1.1\nHost: a.tld\nUser-Agent: sqlmap",
            [AGENT, f"{CLIENT} URL (a.tld)/listed({SQL[2:]}) bad"],
        ),
        (
            f"POST {SQL} HTTP/1.1\nHost: a.tld\n\nid=sleep(1)",
            [f"{CLIENT} URL a.tld({SQL}) potential sql injection (suspicious)"],
        ),
        (
            "GET /defaultwebpage.cgi HTTP/1.1\nHost: a.tld\n\n",
            [f"{CLIENT} URL a.tld(/defaultwebpage.cgi) non-existent page (suspicious)"],
        ),
    ],
)
def test_rules_that_stop(head: str, found: list[str]) -> None:
    assert verdicts(sent(head), trails_of({"/listed": "bad"})) == found


def test_client_behind_a_proxy_is_told_with_what_it_did() -> None:
    behind = "X-Forwarded-For: 198.51.100.7, 10.9.9.9"
    head = f"GET {SQL} HTTP/1.1\nHost: a.tld\nUser-Agent: sqlmap\n{behind}"
    info = "potential sql injection (suspicious)"
    assert verdicts(sent(head)) == [AGENT, f"{CLIENT},198.51.100.7 URL a.tld({SQL}) {info}"]
    assert verdicts(sent(head.replace("198.51.100.7", "me"))) == [AGENT, f"{CLIENT} URL a.tld({SQL}) {info}"]
    (event,) = events({}, sent(head))
    assert event.src_ip == f"{CLIENT},198.51.100.7"


def test_whitelisted_host_is_judged_by_its_name_and_agent_alone() -> None:
    entries = {parse(key).key: Trail("bad", "(static)") for key in ("/x", "good.tld/x")}
    trails = Trails(entries, [], whitelist=("good.tld",))
    for target in ("/x", SQL, "/x.exe", "/defaultwebpage.cgi", "http://www.good.tld/echo"):
        assert verdicts(sent(f"GET {target} HTTP/1.1\nHost: www.good.tld"), trails) == []
        assert verdicts(sent(f"GET {target} HTTP/1.1\nHost: a.tld".replace("good", "a")), trails)
    assert verdicts(sent("GET /x HTTP/1.1\nHost: good.tld\nUser-Agent: sqlmap"), trails) == [AGENT]


@pytest.mark.parametrize(
    ("head", "server", "port", "found"),
    [
        ("GET /x.exe HTTP/1.1\nHost: a.tld", SERVER, 80, f"URL a.tld(/x.exe) {DOWNLOAD}"),
        ("GET /x.exe HTTP/1.1\nHost: a.tld", LOCAL, 80, None),
        ("GET /x?imei=123456789012345 HTTP/1.1\nHost: a.tld", LOCAL, 80, None),
        (f"GET /x/arm7 HTTP/1.1\nHost: {SERVER}", LOCAL, 80, None),
        ("GET http://a.tld/echo HTTP/1.1\nHost: a.tld", SERVER, 80, f"HTTP http://a.tld/(echo) {PROBE}"),
        ("GET http://a.tld/echo HTTP/1.1\nHost: a.tld", SERVER, 8080, None),
        ("GET /x.exe HTTP/1.1\nHost: :80", SERVER, 80, f"URL (/x.exe) {DOWNLOAD}"),
        ("GET /x.exe HTTP/1.1\nHost: [::]", SERVER, 80, f"URL [::](/x.exe) {DOWNLOAD}"),
        ("GET /x.exe HTTP/1.0", SERVER, 80, f"URL {SERVER}(/x.exe) {DOWNLOAD}"),
        ("GET /x.exe HTTP/1.0", ALLOWED, 80, None),
        ("GET /y HTTP/1.0", SERVER, 80, f"URL {SERVER}/y bad"),
    ],
)
def test_what_depends_on_the_server(head: str, server: str, port: int, found: str | None) -> None:
    trails = Trails({f"{SERVER}/y": Trail("bad", "(static)")}, [], whitelist=(ALLOWED,))
    assert verdicts(sent(head, port, server), trails) == ([f"{CLIENT} {found}"] if found else [])


def test_missing_host_is_told_to_who_asks() -> None:
    head = "GET /x HTTP/1.1\nAccept: */*"
    info = "missing host header (suspicious)"
    assert verdicts(sent(head)) == []
    assert verdicts(sent(head), check_missing_host=True) == [f"{CLIENT} HTTP {SERVER}/x {info}"]


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("iot_download", f"GET /arm7 HTTP/1.1\nHost: {SERVER}"),
        ("host_names", "GET / HTTP/1.1\nHost: evil.tld"),
        ("host_names", "CONNECT evil.tld:443 HTTP/1.1\nHost: a.tld"),
        ("proxy_probe", "GET http://a.tld/echo HTTP/1.1\nHost: a.tld"),
        ("user_agent", "GET / HTTP/1.1\nHost: a.tld\nUser-Agent: sqlmap"),
        ("attack_in_target", f"GET {SQL} HTTP/1.1\nHost: a.tld"),
        ("attack_in_body", "POST / HTTP/1.1\nHost: a.tld\n\nid=sleep(1)"),
        ("direct_download", "GET /x.exe HTTP/1.1\nHost: a.tld"),
        ("suspicious_filename", "GET /nmaplowercheck HTTP/1.1\nHost: a.tld"),
    ],
)
def test_rule_can_be_disabled(name: str, head: str) -> None:
    trails = trails_of({"evil.tld": "bad"})
    assert len(verdicts(sent(head), trails)) == 1
    assert verdicts(sent(head), trails, NAMES - {name})
    assert verdicts(sent(head), trails, frozenset({name})) == []


def test_forwarded_for_can_be_disabled() -> None:
    packet = sent(f"GET {SQL} HTTP/1.1\nHost: a.tld\nX-Forwarded-For: 198.51.100.7")
    assert verdicts(packet, disabled=frozenset({"forwarded_for"}))[0].startswith(f"{CLIENT} URL")


def test_memory_of_hosts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "CACHE", 10)
    judge = HttpJudge(trails_of({"evil.tld": "bad"}))
    counts: Counter[str] = Counter()
    packets = [ask(f"{n}.evil.tld", "/") for n in range(100)] + [ask(f"{n}.tld", "/") for n in range(100)]
    traffic = Heads().add(sieve(batch(*packets), counts), counts)
    assert len(list(judge.judge(traffic, counts))) == 100
    assert len(judge._names) <= 10


def test_findings_among_many_requests() -> None:
    judge, counts = HttpJudge(trails_of({"/gate.php": "bad", "evil.tld": "bad"})), Counter[str]()
    targets = ("/", "/gate.php", SQL, "/a/b.html?id=7", "/x/gate.php?y=z", "/gate.php")
    hosts = ("a.tld", "a.tld", "a.tld", "evil.tld", "", "good.tld")
    packets = [ask(host, target) for host, target in zip(hosts, targets, strict=True)]
    found = judge.judge(Heads().add(sieve(batch(*packets), counts), counts), counts)
    assert [(f.packet, f.verdict.type) for f in found] == [
        *((1, "URL"), (2, "URL"), (3, "DNS"), (4, "URL"), (5, "URL"))
    ]


PATHS = st.lists(
    st.sampled_from(["gate.php", "x", "arm7", "x.exe", "..", ".env", "echo", "nmaplowercheck", "ads", "a=b"]),
    max_size=4,
).map(lambda names: "/" + "/".join(names))
QUERIES = st.sampled_from(["", "?id=7", "?id=7&s=/v/", "?a=b=c", "?x=1%20union%20select%201", "?y/z", "?"])
HOSTS = st.sampled_from(["a.tld", "evil.tld", "www.good.tld", "b.tld:80", SERVER, "[::]", ":80", "a", ""])
HEADS = st.builds(
    "{0} {1}{2}{3} HTTP/1.1\r\nHost: {4}\r\nUser-Agent: {5}\r\n\r\n{6}".format,
    st.sampled_from(["GET", "POST", "CONNECT"]),
    st.sampled_from(["", "", "http://evil.tld", "http://", "x"]),
    PATHS,
    QUERIES,
    HOSTS,
    st.sampled_from(["Mozilla/5.0", "sqlmap"]),
    st.sampled_from(["", "", "cmd=knock", "id=sleep(1)"]),
)


@given(st.lists(HEADS, min_size=1, max_size=8), st.sampled_from([SERVER, LOCAL, ALLOWED]))
def test_what_is_passed_over_has_no_verdict(heads: list[str], server: str) -> None:
    keys = ("/gate.php", "evil.tld", "http://evil.tld", "a.tld/x", "/gate.php?id=", "/x?cmd=knock", "b.tld/z")
    entries = {parse(key).key: Trail(key, "(static)") for key in keys}
    judge = HttpJudge(Trails(entries, [], whitelist=("good.tld", ALLOWED)), ("sqlmap",))
    counts: Counter[str] = Counter()
    packets = [frames.tcp(CLIENT, 4000 + n, server, 80, head.encode()) for n, head in enumerate(heads)]
    traffic = Heads().add(sieve(batch(*packets), counts), counts)
    expected = [
        (head.packet, *verdict)
        for head in traffic.requests
        for verdict in judge._verdicts(messages.parse(head.data), flows.read(*head.headers), False)
    ]
    assert [(f.packet, f.flow, f.verdict) for f in judge.judge(traffic, counts)] == expected
