"""A sensor's identity, as the server reads it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from d4common import config
from d4common.sender import Identity
from d4sensor import identity
from d4server import sensors


def test_reads_what_the_sensor_made(tmp_path: Path) -> None:
    path = tmp_path / "10-identity.conf"
    identity.make(path)
    found = sensors.read_identity(path)
    assert f"uuid = {found.uuid}\nkey = {found.key.decode()}\n" in path.read_text()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "must set uuid and key"),
        ("[d4]\nkey = x\n", "must set uuid and key"),
        ("[d4]\nuuid = ff7ba400-e76c-4053-982d-feec42bdef38\n", "must set uuid and key"),
        ("[d4]\nuuid = 00000000-0000-0000-0000-000000000001\nkey = x\n", "UUID of version 4"),
        ("[d4]\nnot an assignment\n", "neither"),
    ],
)
def test_what_is_no_identity_is_an_error_that_names_the_file(
    tmp_path: Path, text: str, complaint: str
) -> None:
    path = tmp_path / "10-identity.conf"
    path.write_text(text)
    with pytest.raises(config.ConfigError, match=complaint) as error:
        sensors.read_identity(path)
    assert str(path) in str(error.value)


def test_a_secret_is_not_told_by_its_error(tmp_path: Path) -> None:
    path = tmp_path / "10-identity.conf"
    path.write_text("[d4]\nuuid = s3cret\nkey s3cret\n[s3]\n")
    with pytest.raises(config.ConfigError) as error:
        sensors.read_identity(path)
    assert "key s3cret" not in str(error.value)


def test_keys_are_random_text() -> None:
    keys = {sensors.new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(re.fullmatch(rb"[0-9a-f]{64}", key) for key in keys)


def test_identity_holds_the_key_as_bytes(tmp_path: Path) -> None:
    path = tmp_path / "10-identity.conf"
    path.write_text("[d4]\nuuid = ff7ba400e76c4053982dfeec42bdef38\nkey = schlüssel; # und so weiter\n")
    found = sensors.read_identity(path)
    assert isinstance(found, Identity)
    assert found.key == "schlüssel; # und so weiter".encode()
