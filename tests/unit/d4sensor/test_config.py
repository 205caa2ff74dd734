"""sensor.conf, as it may be written."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from d4common import config
from d4common.config import Endpoint
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
    assert loaded.d4.destination == Endpoint("d4.example.org", 4443)
    assert (loaded.d4.verify, str(loaded.d4.uuid), loaded.d4.key) == (
        False,
        "ff7ba400-e76c-4053-982d-feec42bdef38",
        "a b # c",
    )
    assert loaded.capture.interface == ("eth0", "eth1")
    assert (loaded.capture.buffer, loaded.capture.filter) == (2 << 20, "not port 22")
    assert loaded.capture.sensor_name() == "vm"


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
    assert len(error.value.problems) == 10


def test_a_wrong_key_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "sensor.conf"
    path.write_text("[d4]\nkey = s3cret\n")
    assert "s3cret" not in config.show(config.load(SensorConfig, [path]))
