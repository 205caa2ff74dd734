"""All sources into one file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Certificates
from publishing import Publisher, publisher

from d4sensor import compiled, fetch, loading, update
from d4sensor.config import Trails as Settings
from d4sensor.trails import Trail, TrailError
from d4sensor.update import Refused


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Sources that hold one trail of the site's own."""
    places = {name: tmp_path / name for name in ("trails.d", "feeds.d", "whitelist.d", "agents")}
    for place in places.values():
        place.mkdir()
    (places["trails.d"] / "own.txt").write_text("own.tld\n")
    return Settings(
        path=(places["trails.d"],),
        feeds=(places["feeds.d"],),
        whitelist=(places["whitelist.d"],),
        user_agents=(places["agents"],),
        compiled=tmp_path / "state" / "trails.mdb",
    )


@pytest.fixture
def server(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    """A server of feeds; no copy of one is fresh."""
    monkeypatch.setattr(fetch, "FRESH", 0.0)
    with publisher(certificates) as publishing:
        yield publishing


def describe(settings: Settings, server: Publisher, name: str, body: str, *more: str) -> None:
    """Publishes a feed, and says so in a file."""
    server.bodies[f"/{name}"] = body.encode()
    lines = [f'url = "{server.url}/{name}"', 'reference = "a.org"', 'info = "malware"', *more]
    (settings.feeds[0] / f"{name}.toml").write_text("\n".join(lines))


def test_files_alone(settings: Settings) -> None:
    (settings.whitelist[0] / "own.txt").write_text("good.tld # ours\n")
    (settings.user_agents[0] / "own.txt").write_text("sqlmap\n")
    (settings.path[0] / "more.txt").write_text("evil.tld\nwww.good.tld\n1.2.3\n")
    report = update.update(settings)
    assert report.trails == 2
    assert [problem.partition(": ")[2] for problem in report.problems] == [
        f"{settings.path[0]}/more.txt:3: '1.2.3' is not an address"
    ]
    found = compiled.open_(settings.compiled)
    assert found.get("evil.tld") == Trail("more", "(custom)", f"{settings.path[0]}/more.txt")
    assert found.whitelisted("a.good.tld")
    assert found.user_agents == ("sqlmap",)


def test_feeds_of_every_kind(settings: Settings, server: Publisher, certificates: Certificates) -> None:
    describe(settings, server, "names", "evil.tld\nown.tld\nfine.tld\n8.8.8.8\n")
    describe(settings, server, "white", "fine.tld\n", 'kind = "whitelist"')
    describe(settings, server, "agents", "nikto\n(broken\n", 'kind = "user-agents"')
    describe(settings, server, "off", "off.tld\n", "enabled = false")
    report = update.update(settings, ca=certificates.ca)
    assert report == update.Report(2, [])
    found = compiled.open_(settings.compiled)
    assert found.get("evil.tld") == Trail("malware", "a.org", "feed names")
    assert found.get("own.tld") == Trail("own", "(custom) (+a.org)", f"{settings.path[0]}/own.txt")
    assert found.user_agents == ("nikto",)
    about = compiled.about(settings.compiled)
    assert about["sources"] == {
        "feed white": 1,
        "feed agents": 2,
        "feed names": 4,
        f"{settings.path[0]}/own.txt": 1,
    }
    assert about["dropped"] == {"whitelisted": 1, "addresses in too few feeds": 1}


def test_feed_that_fails_is_reported_and_its_copy_used(
    settings: Settings, server: Publisher, certificates: Certificates
) -> None:
    describe(settings, server, "good", "evil.tld\n")
    describe(settings, server, "bad", "bad.tld\n")
    (settings.feeds[0] / "broken.toml").write_text("url = 5")
    update.update(settings, ca=certificates.ca)
    server.bodies["/good"], server.bodies["/bad"] = b"evil.tld\nworse.tld\n", b"<html>Not here</html>"
    describe(settings, server, "new", "x.tld")
    del server.bodies["/new"]
    report = update.update(settings, ca=certificates.ca)
    assert report.trails == 4
    assert report.problems == [
        "broken.toml: url = 5: must be of type str",
        "feed bad: holds nothing: it is empty, or of another format by now; its last copy stays",
        "feed new: the server says 404 Not Found; there is no copy yet",
    ]


def test_offline_asks_nobody(settings: Settings, server: Publisher, certificates: Certificates) -> None:
    describe(settings, server, "names", "evil.tld\n")
    update.update(settings, ca=certificates.ca)
    server.asked.clear()
    assert update.update(settings, offline=True).trails == 2
    assert server.asked == []


def test_set_that_is_empty_or_less_than_half_is_refused(settings: Settings) -> None:
    own = settings.path[0] / "own.txt"
    own.write_text("".join(f"evil{n}.tld\n" for n in range(10)))
    update.update(settings)
    own.write_text("".join(f"evil{n}.tld\n" for n in range(4)))
    with pytest.raises(Refused, match="of 10 trails 4 are left, the old ones stay"):
        update.update(settings)
    own.write_text("")
    with pytest.raises(Refused, match="there are no trails at all"):
        update.update(settings)
    assert len(compiled.open_(settings.compiled)) == 10
    own.write_text("".join(f"evil{n}.tld\n" for n in range(4)))
    assert update.update(settings, allow_shrink=True).trails == 4
    assert len(compiled.open_(settings.compiled)) == 4


def test_path_that_cannot_be_read_leaves_the_old_file(settings: Settings) -> None:
    update.update(settings)
    with pytest.raises(TrailError, match="absent.txt: No such file"):
        update.update(replace(settings, path=(settings.path[0] / "absent.txt",)))
    assert len(compiled.open_(settings.compiled)) == 1


def test_file_that_is_broken_is_made_anew(settings: Settings) -> None:
    update.update(settings)
    settings.compiled.write_bytes(b"broken")
    assert update.update(settings).trails == 1


def test_compiled_file_is_stale_when_what_it_was_made_of_changes(settings: Settings) -> None:
    assert not loading.is_stale(settings), "there is none"
    update.update(settings)
    assert not loading.is_stale(settings)
    own = settings.path[0] / "own.txt"
    made = compiled.about(settings.compiled)["made"]
    os.utime(own, (made + 1, made + 1))
    assert loading.is_stale(settings)
    os.utime(own, (made - 1, made - 1))
    assert not loading.is_stale(settings)
    assert loading.is_stale(replace(settings, path=(own,)))
