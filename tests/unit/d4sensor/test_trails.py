"""Trails by key, by address, and what is whitelisted."""

from __future__ import annotations

from sensing import trails_of

from d4sensor.trails import Trail, Trails


def test_address_is_listed_by_itself_before_any_network() -> None:
    found = trails_of(
        {
            "192.0.2.7": "one",
            "2001:db8::7": "one",
            "192.0.2.0/24": "net",
            "2001:db8::/48": "net",
            "192.0.0.0/16": "wide",
            "2001:db8::/32": "wide",
        }
    )
    one, net, wide = (Trail(info, "(static)") for info in ("one", "net", "wide"))
    assert found.listing("192.0.2.7") == ("192.0.2.7", one)
    assert found.listing("192.0.2.8") == ("192.0.2.0/24", net)
    assert found.listing("192.0.3.8") == ("192.0.0.0/16", wide)
    assert found.listing("192.1.3.8") is None
    assert found.listing("2001:db8::7") == ("2001:db8::7", one)
    assert found.listing("2001:db8::8") == ("2001:db8::/48", net)
    assert found.listing("2001:db8:1::8") == ("2001:db8::/32", wide)
    assert found.listing("2001:db9::8") is None


def test_patterns_are_searched_for_in_names() -> None:
    found = trails_of({"evil[0-9]+.tld": "bad", "evil.tld": "worse"})
    ((pattern, key),) = found.patterns
    assert pattern.search("www.evil12.tld.org")
    assert found.get(key) == Trail("bad", "(static)")


def test_nothing_is_whitelisted_but_what_the_whitelist_names() -> None:
    assert not trails_of({"evil.tld": "bad"}).whitelisted("good.tld")
    found = Trails({}, [], whitelist=["good.tld", "192.0.2.0/24"])
    assert found.whitelisted("www.good.tld")
    assert found.whitelisted("192.0.2.7")
    assert not found.whitelisted("evil.tld")
