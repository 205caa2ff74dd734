"""What feeds look like."""

from __future__ import annotations

import gzip
import io
import zipfile
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4sensor import formats
from d4sensor.feeds import FORMATS, Feed, FeedError
from d4sensor.trails import Trail


def told(body: str, **described: object) -> list[str]:
    """The indicators in a feed's body."""
    return [each.text for each in formats.told(feed(**described), body.encode())]


def feed(**described: object) -> Feed:
    """A feed."""
    return Feed("x", "https://a.org/", "a.org", info="bad", **described)  # type: ignore[arg-type]


def test_lines() -> None:
    body = "# list\n; of\n// bad\n\n192.0.2.1\t\t# 2026-11-01\n192.0.2.0/24 ; SBL1\nhttp://evil.tld/a#b\r\n"
    assert told(body) == ["192.0.2.1", "192.0.2.0/24", "http://evil.tld/a#b"]


def test_csv() -> None:
    body = '# time,address\n"2026-11-01", "192.0.2.1", "c2"\nshort\n2026-11-01,192.0.2.2:443,"c2, too"\n'
    assert told(body, format="csv", column=1) == ["192.0.2.1", "192.0.2.2:443"]
    rows = formats.told(
        Feed("x", "", "a.org", format="csv", column=1, info_column=2, reference_column=0), body.encode()
    )
    assert [row[1:] for row in rows] == [("c2", "2026-11-01"), ("c2, too", "2026-11-01")]
    (row,) = formats.told(Feed("x", "", "a.org", info="{} (malware)", format="csv", info_column=1), b"1,C2\n")
    assert row.info == "c2 (malware)"
    assert told("64500  |  NAME  |  192.0.2.1  |  x\n", format="csv", column=2, delimiter="|") == [
        "192.0.2.1"
    ]


def test_json() -> None:
    body = '{"relays": [{"or": ["192.0.2.1:9001", 3]}, {"or": ["[2001:db8::1]:9001"]}, {}, 5]}'
    assert told(body, format="json", path="relays.*.or.*") == ["192.0.2.1:9001", "[2001:db8::1]:9001"]
    assert told('{"a": "evil.tld", "b": "bad.tld"}', format="json", path="*") == ["evil.tld", "bad.tld"]
    with pytest.raises(FeedError, match="is not JSON"):
        told("<html>", format="json")


def test_hosts() -> None:
    assert told("# hosts\n0.0.0.0 evil.tld\n127.0.0.1\tbad.tld # yes\nalone\n", format="hosts") == [
        "evil.tld",
        "bad.tld",
    ]


def test_suricata_rules() -> None:
    body = "\n".join(
        [
            '#alert tcp [192.0.2.9] any -> any any (msg:"off";)',
            'alert tcp $HOME_NET any -> [192.0.2.1,192.0.2.2] any (msg:"[192.0.2.8]"; sid:1;)',
            'alert dns any any -> any any (dns.query; content:"evil.tld"; nocase; endswith; sid:2;)',
            'alert tls any any -> any any (tls.sni; dotprefix; content:".Bad.tld"; endswith; sid:3;)',
            'alert http any any -> any any (http.uri; content:"/gate.php"; sid:4;)',
            'alert dns any any -> any any (dns.query; content:"|0a|x"; sid:5;)',
        ]
    )
    assert told(body, format="suricata") == ["192.0.2.1", "192.0.2.2", "evil.tld", ".Bad.tld"]


def test_patterns_of_user_agents_are_kept_as_they_are() -> None:
    assert told("# x\n\\Aa b\nc # d\n", kind="user-agents") == ["\\Aa b", "c # d"]


def test_entries_say_which_feed_they_are_from() -> None:
    found = list(formats.entries(feed(), b"EVIL.tld\nno trail!\n192.0.2.1\n"))
    assert [entry.indicator.key for entry in found] == ["evil.tld", "192.0.2.1"]
    assert {entry.trail for entry in found} == {Trail("bad", "a.org", "feed x")}


def test_compressed() -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("list.txt", "evil.tld\n")
    for body in (gzip.compress(b"evil.tld\n"), archive.getvalue()):
        assert [each.text for each in formats.told(feed(), body)] == ["evil.tld"]


@pytest.mark.parametrize(
    "body", [gzip.compress(b"evil.tld\n" * 99, mtime=0)[:-9], b"\x1f\x8bnothing", b"PK\x03\x04nothing"]
)
def test_what_cannot_be_unpacked(body: bytes) -> None:
    with pytest.raises(FeedError, match="cannot be unpacked"):
        list(formats.told(feed(), body))


def test_what_would_be_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "MAX_UNPACKED", 1000)
    with pytest.raises(FeedError, match="holds more than 1000 bytes"):
        list(formats.told(feed(), gzip.compress(b"\n" * 1001)))


@given(
    st.binary(max_size=200), st.sampled_from(FORMATS), st.sampled_from([b"", b"\x1f\x8b\x08", b"PK\x03\x04"])
)
def test_any_body_is_read_or_refused(body: bytes, format: str, prefix: bytes) -> None:
    with suppress(FeedError):
        list(formats.entries(feed(format=format, path="*"), prefix + body))
