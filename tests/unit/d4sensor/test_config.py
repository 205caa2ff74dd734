"""sensor.conf, as it may be written."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from d4common import config
from d4common.config import Endpoint, Proxy
from d4sensor.config import SensorConfig


def load(tmp_path: Path, text: str) -> SensorConfig:
    """The configuration in a file that holds ``text``."""
    path = tmp_path / "sensor.conf"
    path.write_text(text)
    return config.load(SensorConfig, [path]).value


def test_says_where_to_send_and_what_to_see(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        "[d4]\ndestination = d4.example.org\nverify = no\n"
        "uuid = ff7ba400e76c4053982dfeec42bdef38\nkey = a b # c\n"
        "[capture]\ninterface = eth0, eth1\nbuffer = 2M\nfilter = not port 22\nname = vm\n",
    )
    assert loaded.d4.destination == (Endpoint("d4.example.org", 4443),)
    assert (loaded.d4.verify, str(loaded.d4.uuid), loaded.d4.key) == (
        False,
        "ff7ba400-e76c-4053-982d-feec42bdef38",
        "a b # c",
    )
    assert loaded.capture.interface == ("eth0", "eth1")
    assert (loaded.capture.buffer, loaded.capture.filter) == (2 << 20, "not port 22")
    assert loaded.capture.sensor_name() == "vm"


def test_says_which_servers_there_are_and_how_to_get_there(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        "[d4]\ndestination = one.example.org two.example.org:4444\nproxy = socks5://u:p@10.0.0.1:1080\n",
    ).d4
    assert loaded.destination == (Endpoint("one.example.org", 4443), Endpoint("two.example.org", 4444))
    assert loaded.proxy == Proxy(Endpoint("10.0.0.1", 1080), "u", "p")


def test_says_where_and_how_much_waits(tmp_path: Path) -> None:
    loaded = load(tmp_path, "[spool]\npath = /srv/spool\nmax_size = 20G\nmax_days = 7\n").spool
    assert (loaded.path, loaded.max_size, loaded.max_days) == (Path("/srv/spool"), 20 << 30, 7)


def test_a_sensor_without_a_name_has_that_of_its_host(tmp_path: Path) -> None:
    assert load(tmp_path, "").capture.sensor_name() == socket.gethostname()


def test_places_of_trails_add_up(tmp_path: Path) -> None:
    paths = load(tmp_path, "[trails]\npath = /one /two\npath = /three\n").trails.path
    assert paths == (Path("/one"), Path("/two"), Path("/three"))


def test_what_is_wrong_is_said_all_at_once(tmp_path: Path) -> None:
    wrong = [
        "[d4]",
        "destination = 2001:db8::1:4443",
        "ca = ca.pem",
        "verify = maybe",
        "uuid = ff7ba400-e76c-1053-982d-feec42bdef38",
        "snaplen = 1000001",
        "version = 0",
        "proxy = http://10.0.0.1",
        "[spool]",
        "path = spool",
        "max_size = 1K",
        "max_days = 61",
        "[capture]",
        "snaplen = 95",
        "buffer = 8G",
        "filter = no such port(",
        "[trails]",
        "path = trails",
    ]
    with pytest.raises(config.ConfigError) as error:
        load(tmp_path, "\n".join(wrong))
    for number, line in enumerate(wrong, 1):
        if "=" in line:
            assert f"sensor.conf:{number}: " in str(error.value), line
    assert len(error.value.problems) == 14


def test_a_key_and_a_password_are_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "sensor.conf"
    path.write_text("[d4]\nkey = s3cret\nproxy = socks5://user:s3cret@proxy.example.org\n")
    assert "s3cret" not in config.show(config.load(SensorConfig, [path]))


def test_says_what_is_not_told(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        "[events]\nignore_source = 10.0.0.0/8, 2001:db8::1\nignore_source = fe80::/10\n"
        "ignore_destination = 192.0.2.1\nignore_trail = *.evil.tld /x#y\nignore_regex = (a|b) #c\n",
    ).events
    assert loaded.ignore_source == ("10.0.0.0/8", "2001:db8::1", "fe80::/10")
    assert loaded.ignore_destination == ("192.0.2.1",)
    assert loaded.ignore_trail == ("*.evil.tld", "/x#y")
    assert loaded.ignore_regex is not None and loaded.ignore_regex.search("xA #C")


@pytest.mark.parametrize(
    "word", ["evil.tld", "192.0.2.1:80", "[2001:db8::1]:80", "192.0.2.256", "/x", "10.0.0.1/8"]
)
def test_source_that_is_no_address(tmp_path: Path, word: str) -> None:
    with pytest.raises(config.ConfigError, match=r"sensor.conf:2: \[events\] ignore_source = "):
        load(tmp_path, f"[events]\nignore_source = 192.0.2.1 {word}\n")


def test_expression_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(config.ConfigError, match=r"ignore_regex = \(: is no regular expression: "):
        load(tmp_path, "[events]\nignore_regex = (\n")


def test_says_which_heuristics_are_not_used(tmp_path: Path) -> None:
    loaded = load(tmp_path, "[engine]\ndisabled_heuristics = port_scanning, infection\n")
    assert loaded.engine.disabled_heuristics == ("port_scanning", "infection")
    with pytest.raises(
        config.ConfigError, match="no heuristic is called port_scan; there are attack_in_body, "
    ):
        load(tmp_path, "[engine]\ndisabled_heuristics = port_scan\n")
