"""URL trails, rule by rule."""

from __future__ import annotations

import frames
import pytest
from sensing import batch, events, told, trails_of

from d4sensor.engine import Engine
from d4sensor.judges.http import MAX_TEXT, forms_of

CLIENT, SERVER = "10.0.0.1", "192.0.2.80"


def ask(host: str, target: str, method: str = "GET", body: bytes = b"", server: str = SERVER) -> bytes:
    """A request on the wire."""
    return frames.tcp(CLIENT, 4000, server, 80, frames.request(host, target, method, body))


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
        ("a.tld", "a.tld", "/", None),
        ("http://192.0.2.80/x.sh", "", "/x.sh", "192.0.2.80/x.sh"),
        ("http://192.0.2.80/x.sh", "192.0.2.80", "/x.sh", "192.0.2.80/x.sh"),
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
    assert forms_of("/a", "K=%41/x") == ["/a", "/a?k=a/x"]
    assert forms_of("/", "") == []


def test_long_path_takes_no_longer_than_its_length() -> None:
    # Were every character tried as the beginning of a parameter, this would take hours.
    assert forms_of("/x?" + "a" * 1_000_000, "")[1] == "/x"


def test_listed_server_is_told_with_its_name() -> None:
    start = f"{CLIENT} 4000 {SERVER} 80 TCP"
    assert told({SERVER: "bad"}, ask("a.tld:8080", "/")) == [f"{start} IP {SERVER} (a.tld)"]
    assert told({"192.0.2.0/24": "bad"}, ask("a.tld", "/")) == [f"{start} IP 192.0.2.0/24 (a.tld)"]
    assert told({SERVER: "bad"}, ask(SERVER, "/")) == []
    assert told({SERVER: "bad"}, ask("", "/")) == []
    assert told({CLIENT: "bad"}, ask("a.tld", "/")) == []


def test_listed_server_and_bad_path_are_two_events() -> None:
    assert len(told({SERVER: "bad", "/x": "bad"}, ask("a.tld", "/x"))) == 2


def test_text_is_short_enough_for_a_datagram() -> None:
    long = "/x?" + "y" * 5000
    (event,) = events({"/x": "bad"}, ask("a.tld", long))
    assert len(event.trail) == MAX_TEXT


def test_what_is_counted() -> None:
    engine = Engine(trails_of({"/x": "bad"}), "sensor")
    mail = frames.tcp(CLIENT, 1, SERVER, 25, b"EHLO a.tld is no request\r\n")
    assert engine.judge(batch(mail, ask("a.tld", "/"), ask("b.tld", "/"))) == []
    assert (engine.counts["http_requests"], engine.counts["http_malformed"]) == (2, 1)
