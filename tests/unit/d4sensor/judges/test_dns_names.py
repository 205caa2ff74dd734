"""What a name shows, rule by rule."""

from __future__ import annotations

import pytest
from sensing import trails_of

from d4sensor.judges import Verdict
from d4sensor.judges.dns_names import bracketed, is_judged, is_listed, of
from d4sensor.trails import Trail, Trails


def text_of(infos: dict[str, str], name: str) -> str:
    """The text of the verdict on a name by these trails, or nothing."""
    verdict = of(name, trails_of(infos))
    return verdict.text if verdict else ""


@pytest.mark.parametrize(
    ("name", "judged"),
    [
        ("evil.tld", True),
        ("_dmarc.evil.tld", True),
        ("a-b.c_d.e-f", True),
        ("evil", False),
        ("", False),
        ("ev il.tld", False),
        ("evil.t_d", False),
        ("evil.tld.", False),
        ("ÿ.tld", False),
        ("a.intranet.tld", False),
        ("server.corp", False),
        ("1.0.0.127.in-addr.arpa", False),
        ("printer.local", False),
        ("host.example", False),
        ("host.example.com", True),
    ],
)
def test_names_that_trails_could_hold(name: str, judged: bool) -> None:
    assert is_judged(name) == judged


def test_number_is_no_name() -> None:
    assert of("192.0.2.1", trails_of({"192.0.2.1": "bad"})) is None


@pytest.mark.parametrize(
    ("name", "info", "reported"),
    [
        ("ns1.evil.tld", "x (suspicious)", False),
        ("dns.evil.tld", "sinkhole x (malware)", False),
        ("rns2.evil.tld", "x (suspicious)", False),
        ("mx.evil.tld", "x (suspicious)", False),
        ("nic.evil.tld", "x (suspicious)", False),
        ("ns1.evil.tld", "x (malware)", True),
        ("nsa.evil.tld", "x (suspicious)", True),
        ("a.ns1.evil.tld", "x (suspicious)", True),
        ("evil.tld", "dynamic domain (suspicious)", False),
        ("www.evil.tld", "dynamic domain (suspicious)", False),
        ("evil.tld", "free web hosting (suspicious)", False),
        ("my.evil.tld", "dynamic domain (suspicious)", True),
        ("www.my.evil.tld", "free web hosting (suspicious)", False),
    ],
)
def test_harmless_names_below_a_trail(name: str, info: str, reported: bool) -> None:
    assert bool(text_of({"evil.tld": info}, name)) == reported


def test_parent_of_a_harmless_name_still_counts() -> None:
    trails = {"dyn.evil.tld": "dynamic domain (suspicious)", "evil.tld": "bad"}
    assert text_of(trails, "dyn.evil.tld") == "(dyn).evil.tld"


def test_number_with_a_listed_parent_is_no_name() -> None:
    assert of("1.2.3", Trails({"3": Trail("bad", "(static)")}, [])) is None


@pytest.mark.parametrize(
    ("trail", "name", "text"),
    [
        ("192.0.2.7", "192.0.2.7.ip-adress.com", "192.0.2.7(.ip-adress.com)"),
        ("evil.tld", "evil.tld.ip-adress.com", "evil.tld(.ip-adress.com)"),
        ("evil.tld", "www.evil.tld.ip-adress.com", ""),
        ("evil.tld", "ip-adress.com", ""),
        ("abc.onion", "abc.onion.to", "abc.onion(.to)"),
        ("abc.onion", "abc.onion.link.tld", "abc.onion(.link.tld)"),
        ("abc.onion", "x.abc.onion.to", ""),
        ("abc.onion", "abd.onion.to", ""),
    ],
)
def test_names_at_gateways(trail: str, name: str, text: str) -> None:
    assert text_of({trail: "bad"}, name) == text


def test_gateway_itself_can_be_listed() -> None:
    assert text_of({"onion.to": "gateway"}, "abc.onion.to") == "(abc).onion.to"
    assert text_of({"onion.to": "gateway", "abc.onion": "bad"}, "abc.onion.to") == "abc.onion(.to)"


LONG = "abcdefghijklmnopqrstuvwxy"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (f"{LONG}.tld", f"({LONG}).tld"),
        (f"{LONG}.sld.tld", f"({LONG}).sld.tld"),
        (f"{LONG}.a.sld.tld", f"({LONG}.a).sld.tld"),
        (f"{LONG[:24]}.sld.tld", ""),
        (f"a.{LONG}.tld", ""),
        (f"{LONG[:12]}-{LONG[:12]}.tld", ""),
        (f"{LONG}.blogspot.tld", ""),
    ],
)
def test_long_domain(name: str, text: str) -> None:
    verdict = of(name, trails_of({}))
    assert verdict == (
        Verdict("DNS", text, Trail("long domain (suspicious)", "(heuristic)")) if text else None
    )
    assert of(name, trails_of({}), frozenset({"long_domain"})) is None


def test_trail_goes_before_long_domain() -> None:
    assert text_of({"sld.tld": "bad"}, f"{LONG}.a.sld.tld") == f"({LONG}.a).sld.tld"
    verdict = of(f"{LONG}.sld.tld", trails_of({"sld.tld": "bad"}))
    assert verdict and verdict.trail.info == "bad"


def test_whitelisted_names_are_passed_over() -> None:
    trails = trails_of({"evil.tld": "bad"})
    trails = Trails({"evil.tld": Trail("bad", "(static)")}, trails.addresses, whitelist=["good.evil.tld"])
    assert of("good.evil.tld", trails) is None
    assert of("a.good.evil.tld", trails) is None
    assert of(f"{LONG}.good.evil.tld", trails) is None
    assert of("other.evil.tld", trails) is not None


def test_is_listed() -> None:
    trails = trails_of({"evil.tld": "bad"})
    assert is_listed("evil.tld", trails) and is_listed("a.b.evil.tld", trails)
    assert not is_listed("tld", trails) and not is_listed("notevil.tld", trails)


@pytest.mark.parametrize(("labels", "text"), [(1, "(a.b.sld).tld"), (2, "(a.b).sld.tld")])
def test_bracketed(labels: int, text: str) -> None:
    assert bracketed("a.b.sld.tld", labels) == text
