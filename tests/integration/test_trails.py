"""The commands about trails, and a running sensor whose trails are compiled anew."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from conftest import Certificates
from publishing import Publisher, publisher
from waiting import wait_for

from d4sensor import compiled, identity
from demo.chain import PYTHON, Daemon, environment


@dataclass
class Site:
    """A sensor's configuration, with one trail and no interface, and places for more."""

    base: list[str]
    trails: Path
    feeds: Path
    compiled: Path

    def attempt(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What becomes of a d4-sensor command."""
        return subprocess.run(
            [*self.base, *arguments], env=environment(), capture_output=True, text=True, timeout=60
        )

    def command(self, *arguments: str) -> str:
        """What a command prints; it must succeed."""
        result = self.attempt(*arguments)
        assert result.returncode == 0, result.stderr
        return result.stdout


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site."""
    return site_in(tmp_path)


def site_in(directory: Path) -> Site:
    """A site in a directory."""
    trails, feeds, compiled = directory / "own.txt", directory / "feeds.d", directory / "state" / "trails.mdb"
    trails.write_text("evil.tld\n")
    feeds.mkdir()
    config = directory / "sensor.conf"
    config.write_text(
        f"[d4]\nca = {directory}/none.pem\n[spool]\npath = {directory}/spool\n"
        f"[capture]\ninterface = nowhere0\n[trails]\npath = {trails}\n"
        f"feeds = {feeds}\ncompiled = {compiled}\nwhitelist = {directory}/whitelist.d\n"
        f"user_agents = {directory}/agents\n"
    )
    identity.make(directory / "sensor.conf.d" / "10-identity.conf")
    return Site([PYTHON, "-m", "d4sensor", "--config", str(config)], trails, feeds, compiled)


@pytest.fixture
def sensor(site: Site, tmp_path: Path) -> Iterator[Daemon]:
    """A sensor of that site, not yet started; in the end its log has no traceback."""
    daemon = Daemon("sensor", [*site.base, "run"], tmp_path)
    yield daemon
    daemon.stop()
    assert "Traceback" not in daemon.log.read_text()


@pytest.fixture
def server(certificates: Certificates) -> Iterator[Publisher]:
    """A server of feeds."""
    with publisher(certificates) as publishing:
        yield publishing


def test_a_sensor_takes_what_is_compiled_while_it_runs(site: Site, sensor: Daemon) -> None:
    sensor.start()
    wait_for(lambda: "for 1 trails" in sensor.log.read_text())
    site.trails.write_text("evil.tld\nworse.tld\n")
    assert site.command("update") == f"2 trails in {site.compiled}\n"
    wait_for(lambda: "watching for 2 trails" in sensor.log.read_text())


def test_a_reload_compiles_what_has_changed(site: Site, sensor: Daemon) -> None:
    site.command("update")
    sensor.start()
    site.trails.write_text("evil.tld\nworse.tld\nworst.tld\n")
    assert sensor.process
    sensor.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "watching for 3 trails" in sensor.log.read_text())
    assert (
        "trails have changed, or another version has compiled them: compiling them again"
        in sensor.log.read_text()
    )


def test_what_changed_before_the_start_is_compiled_behind_it(site: Site, sensor: Daemon) -> None:
    site.command("update")
    site.trails.write_text("evil.tld\nworse.tld\n")
    sensor.start()
    wait_for(lambda: "for 1 trails" in sensor.log.read_text())
    wait_for(lambda: "watching for 2 trails" in sensor.log.read_text())


def test_what_another_version_has_compiled_is_compiled_again(site: Site, sensor: Daemon) -> None:
    site.command("update")
    whole = site.compiled.read_bytes()
    site.compiled.write_bytes(
        whole[: -compiled.END.size] + whole[-compiled.END.size :].replace(compiled.MARK, b"d4trail0")
    )
    sensor.start()
    wait_for(lambda: "for 1 trails" in sensor.log.read_text())
    wait_for(lambda: site.compiled.read_bytes().endswith(whole[-compiled.END.size :]))
    wait_for(lambda: "watching for 1 trails" in sensor.log.read_text())


def test_a_broken_file_and_a_refused_set_leave_the_old_trails(site: Site, sensor: Daemon) -> None:
    site.command("update")
    sensor.start()
    broken = site.compiled.with_name("broken")
    broken.write_bytes(b"broken")
    broken.replace(site.compiled)
    wait_for(lambda: "the old trails stay: " in sensor.log.read_text())
    site.command("update")
    wait_for(lambda: "watching for 1 trails" in sensor.log.read_text())
    site.trails.write_text("# nothing\n")
    refused = site.attempt("update")
    assert (refused.returncode, refused.stderr) == (1, "there are no trails at all, the old ones stay\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_leaves_the_state_to_its_owner() -> None:
    """What root compiles by hand, the sensor's own user must be able to replace."""
    nobody = 65534
    with TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        site = site_in(Path(name))
        site.compiled.parent.mkdir(0o700)
        os.chown(site.compiled.parent, nobody, nobody)
        site.command("update")
        assert site.compiled.stat().st_uid == nobody


def test_feeds_are_fetched_listed_and_disabled(
    site: Site, server: Publisher, certificates: Certificates
) -> None:
    server.bodies["/list"] = b"bad.tld\nworse.tld\n"
    (site.feeds / "list.toml").write_text(f'url = "{server.url}/list"\nreference = "a.org"\ninfo = "x"\n')
    (site.feeds / "lost.toml").write_text(f'url = "{server.url}/lost"\nreference = "a.org"\ninfo = "x"\n')
    updated = site.attempt("update", "--ca", str(certificates.ca))
    assert (updated.returncode, updated.stdout) == (0, f"3 trails in {site.compiled}\n")
    assert updated.stderr == "feed lost: the server says 404 Not Found; there is no copy yet\n"
    _, good, lost = (line.split(maxsplit=4) for line in site.command("trails", "list").splitlines())
    assert good[:3] == ["list", "enabled", "2"]
    assert lost == ["lost", "enabled", "0", "-", "the server says 404 Not Found"]
    site.command("trails", "disable", "list", "--directory", str(site.feeds))
    site.command("update", "--offline", "--allow-shrink")
    stats = site.command("trails", "stats")
    assert stats.splitlines()[0].startswith("        1 trails, compiled ")
    assert stats.splitlines()[1:] == [f"        1 {site.trails}"]
    site.command("trails", "enable", "list", "--directory", str(site.feeds))
    assert site.command("update", "--offline") == f"3 trails in {site.compiled}\n"
    unknown = site.attempt("trails", "enable", "nothing", "--directory", str(site.feeds))
    assert (unknown.returncode, unknown.stderr[:24]) == (1, "there is no feed nothing")


def test_lookup_says_what_is_known_and_from_where(site: Site) -> None:
    assert site.command("lookup", "www.EVIL.tld") == (
        'DNS evil.tld "own" (static)\n'
        "    on a DNS query, TLS or QUIC server name, or HTTP host\n"
        f"    from {site.trails}\n"
    )
    unknown = site.attempt("lookup", "good.tld")
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("good.tld: nothing is known by 1 trails")
    wrong = site.attempt("lookup", "1.2.3")
    assert (wrong.returncode, wrong.stderr) == (1, "'1.2.3' is not an address\n")
