"""Fetching feeds from a server over TLS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Certificates
from publishing import Publisher, publisher

from d4sensor import fetch
from d4sensor.feeds import Feed, FeedError
from d4sensor.fetch import State, Store


@pytest.fixture
def server(certificates: Certificates) -> Iterator[Publisher]:
    """A server that publishes /list."""
    with publisher(certificates) as publishing:
        publishing.bodies["/list"] = b"evil.tld\n"
        yield publishing


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty store, in which nothing is fresh."""
    monkeypatch.setattr(fetch, "FRESH", 0.0)
    return Store(tmp_path / "feeds")


def feed_of(server: Publisher, path: str = "/list") -> Feed:
    """The feed at a path."""
    return Feed("x", server.url + path, "a.org", info="bad")


def get(feed: Feed, store: Store, ca: Path) -> State:
    """Fetches a feed whose body must not be empty."""

    def check(feed: Feed, body: bytes) -> None:
        if not body:
            raise FeedError("is empty")

    return fetch.fetch(feed, store, fetch.opener(None, ca), check)


def test_copy_is_kept_with_its_state(server: Publisher, store: Store, certificates: Certificates) -> None:
    feed = feed_of(server)
    assert store.body(feed) is None
    assert store.state(feed) == State()
    state = get(feed, store, certificates.ca)
    assert (state.error, state.last_modified) == ("", "Tue, 24 Nov 2026 12:00:00 GMT")
    assert state.checked == state.fetched > 0
    assert store.body(feed) == b"evil.tld\n"
    assert store.state(feed) == state


def test_what_has_not_changed_is_not_sent_again(
    server: Publisher, store: Store, certificates: Certificates
) -> None:
    feed = feed_of(server)
    server.etags["/list"] = '"1"'
    first = get(feed, store, certificates.ca)
    second = get(feed, store, certificates.ca)
    assert server.asked[1][1]["If-None-Match"] == '"1"'
    assert server.asked[1][1]["If-Modified-Since"] == "Tue, 24 Nov 2026 12:00:00 GMT"
    assert second.fetched == first.fetched
    assert second.checked > first.checked
    server.etags["/list"], server.bodies["/list"] = '"2"', b"worse.tld\n"
    get(feed, store, certificates.ca)
    assert store.body(feed) == b"worse.tld\n"


def test_what_is_fresh_is_not_asked_for(
    server: Publisher, store: Store, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "FRESH", 3600.0)
    for _ in range(2):
        get(feed_of(server), store, certificates.ca)
    assert len(server.asked) == 1


def test_copy_of_another_url_is_none(server: Publisher, store: Store, certificates: Certificates) -> None:
    server.etags |= {"/list": '"1"', "/other": '"1"'}
    server.bodies["/other"] = b"other.tld\n"
    get(feed_of(server), store, certificates.ca)
    get(feed_of(server, "/other"), store, certificates.ca)
    assert store.body(feed_of(server)) == b"other.tld\n"


def test_failure_is_told_and_the_last_copy_stays(
    server: Publisher, store: Store, certificates: Certificates
) -> None:
    feed = feed_of(server)
    good = get(feed, store, certificates.ca)
    del server.bodies["/list"]
    failed = get(feed, store, certificates.ca)
    assert failed.error == "the server says 404 Not Found"
    assert failed.fetched == good.fetched
    assert store.body(feed) == b"evil.tld\n"
    server.bodies["/list"] = b"evil.tld\nworse.tld\n"
    assert get(feed, store, certificates.ca).error == ""


def test_body_that_is_not_to_be_kept(server: Publisher, store: Store, certificates: Certificates) -> None:
    get(feed_of(server), store, certificates.ca)
    server.bodies["/list"] = b""
    assert get(feed_of(server), store, certificates.ca).error == "is empty"
    assert store.body(feed_of(server)) == b"evil.tld\n"


def test_body_that_breaks_off(server: Publisher, store: Store, certificates: Certificates) -> None:
    server.cut_off = True
    assert get(feed_of(server), store, certificates.ca).error
    assert store.body(feed_of(server)) is None


def test_body_that_is_too_large(
    server: Publisher, store: Store, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "MAX_BODY", 5)
    assert get(feed_of(server), store, certificates.ca).error == "holds more than 5 bytes"


def test_server_that_nobody_vouches_for(server: Publisher, store: Store, certificates: Certificates) -> None:
    assert "certificate verify failed" in get(feed_of(server), store, certificates.other_ca).error
    assert server.asked == []


def test_server_of_another_name(server: Publisher, store: Store, certificates: Certificates) -> None:
    feed = Feed("x", server.url.replace("127.0.0.1", "127.0.0.2") + "/list", "a.org", info="bad")
    assert get(feed, store, certificates.ca).error


def test_redirection_is_followed_but_not_to_where_nobody_is_verified(
    server: Publisher, store: Store, certificates: Certificates
) -> None:
    server.redirects["/moved"] = server.url + "/list"
    server.redirects["/down"] = "http://127.0.0.1:1/list"
    assert get(feed_of(server, "/moved"), store, certificates.ca).error == ""
    error = get(feed_of(server, "/down"), store, certificates.ca).error
    assert error == "leads to http://127.0.0.1:1/list, which is not https://"


def test_server_that_is_not_there(store: Store, certificates: Certificates) -> None:
    feed = Feed("x", "https://127.0.0.1:1/list", "a.org", info="bad")
    assert "refused" in get(feed, store, certificates.ca).error


def test_proxy_is_asked(server: Publisher, store: Store, certificates: Certificates) -> None:
    state = fetch.fetch(
        feed_of(server), store, fetch.opener("http://127.0.0.1:1", certificates.ca), lambda feed, body: None
    )
    assert "refused" in state.error
    assert server.asked == []


def test_copy_that_is_gone_is_fetched_whole(
    server: Publisher,
    store: Store,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(fetch, "FRESH", 3600.0)
    server.etags["/list"] = '"1"'
    get(feed_of(server), store, certificates.ca)
    (tmp_path / "feeds" / "x.feed").unlink()
    get(feed_of(server), store, certificates.ca)
    assert store.body(feed_of(server)) == b"evil.tld\n"
