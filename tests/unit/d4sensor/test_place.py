"""Where a sensor keeps what its server gave it."""

from __future__ import annotations

import stat
from pathlib import Path
from uuid import uuid4

import pytest

from d4common import config
from d4common.config import Endpoint
from d4common.enrolling import Approved
from d4sensor.config import SensorConfig
from d4sensor.place import Place, elsewhere

PEM = "-----BEGIN CERTIFICATE-----\n"
SERVER = Endpoint("2001:db8::1", 4443)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """That of a sensor without any configuration."""
    (tmp_path / "sensor.conf").write_text("# nothing\n")
    return Place(tmp_path / "sensor.conf")


def test_the_claim_is_made_once_and_for_root_alone(place: Place) -> None:
    claim = place.claim()
    assert len(claim) == 64 and place.claim() == claim
    assert stat.S_IMODE(place.claim_file.stat().st_mode) == 0o600
    assert config.files_of(place.config) == [place.config], "it is no drop-in"


def test_what_was_given_is_what_is_configured(place: Place) -> None:
    place.claim()
    uuid = uuid4()
    place.write(SERVER, uuid, Approved("a key", PEM + "ca", PEM + "own"))
    loaded = config.load(SensorConfig, config.files_of(place.config))
    d4 = loaded.value.d4
    assert (d4.uuid, d4.key, d4.destination, d4.ca) == (uuid, "a key", (SERVER,), place.ca)
    assert d4.own_certificate() == (place.certificate, place.key)
    assert place.ca.read_text() == PEM + "ca" and place.certificate.read_text() == PEM + "own"
    assert elsewhere(loaded, ["uuid", "key"], [place.identity]) == []
    assert elsewhere(loaded, ["uuid"], [place.server]) != []


def test_a_key_that_systemd_has_handed_over_is_used(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.claim()
    place.write(SERVER, uuid4(), Approved("a key", PEM, PEM))
    d4 = config.load(SensorConfig, config.files_of(place.config)).value.d4
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    (tmp_path / "credentials").mkdir()
    handed = tmp_path / "credentials" / "sensor.key"
    for content, key in (("none", place.key), ("-----BEGIN PRIVATE KEY-----\n", handed)):
        handed.write_text(content)
        assert d4.own_certificate() == (place.certificate, key)


def test_a_certificate_without_its_key_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "sensor.conf"
    path.write_text("[d4]\nclient_certificate = /etc/d4/sensor.pem\n")
    with pytest.raises(config.ConfigError, match="must be set together"):
        config.load(SensorConfig, [path])
