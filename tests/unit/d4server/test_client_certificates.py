"""Certificates of sensors: who gets which, and what they are good for, judged by OpenSSL."""

from __future__ import annotations

import stat
import subprocess
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4sensor import certificate
from d4server import certificates, client_certificates
from d4server.client_certificates import BadRequest


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A server's directory, with both CAs."""
    certificates.ensure(tmp_path, [])
    client_certificates.ensure(tmp_path)
    return tmp_path


def signed(directory: Path, sensor: UUID) -> Path:
    """The certificate of a sensor."""
    key = client_certificates.public_key(certificate.request(sensor, directory / f"{sensor}.key"))
    path, tls = directory / f"{sensor}.pem", directory / "tls"
    path.write_text(client_certificates.sign(sensor, key, tls / "clients.pem", tls / "clients.key"))
    return path


def verify(ca: Path, purpose: str, path: Path) -> bool:
    command = ["openssl", "verify", "-x509_strict", "-CAfile", str(ca), "-purpose", purpose, str(path)]
    return subprocess.run(command, capture_output=True).returncode == 0


def test_it_is_good_for_a_client_of_this_ca_alone(directory: Path) -> None:
    path = signed(directory, uuid4())
    clients = directory / "tls" / "clients.pem"
    assert verify(clients, "sslclient", path)
    assert not verify(clients, "sslserver", path)
    assert not verify(directory / "ca.pem", "sslclient", path)


def test_the_ca_is_made_once_and_its_key_is_for_root_alone(directory: Path) -> None:
    pem, key = directory / "tls" / "clients.pem", directory / "tls" / "clients.key"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (pem, key)] == [0o644, 0o600]
    before = pem.read_bytes(), key.read_bytes()
    client_certificates.ensure(directory)
    assert (pem.read_bytes(), key.read_bytes()) == before
    assert key.read_bytes() != (directory / "tls" / "ca.key").read_bytes()


def test_it_lasts_long_enough_to_be_renewed() -> None:
    assert certificate.RENEW + timedelta(days=30) < client_certificates.LIFE


def test_a_peer_is_the_sensor_that_its_certificate_names() -> None:
    sensor = uuid4()
    peer = {"subject": ((("organizationName", "x"),), (("commonName", str(sensor)),))}
    assert client_certificates.names(peer, sensor)
    assert not client_certificates.names(peer, uuid4())
    for other in (None, {}, {"subject": ()}, {"subject": ((("commonName", "x"),),)}):
        assert not client_certificates.names(other, sensor)
    double = {"subject": ((("commonName", "x"),), (("commonName", str(sensor)),))}
    assert not client_certificates.names(double, sensor)


@given(text=st.text(st.characters(max_codepoint=127)))
def test_what_is_no_csr_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        client_certificates.public_key(text)


@pytest.fixture(scope="module")
def csr(tmp_path_factory: pytest.TempPathFactory) -> str:
    return certificate.request(uuid4(), tmp_path_factory.mktemp("csr") / "key")


@given(at=st.integers(0, 300), character=st.characters(max_codepoint=127))
def test_a_csr_that_was_changed_is_refused_or_still_one(csr: str, at: int, character: str) -> None:
    with suppress(BadRequest):
        client_certificates.public_key(csr[:at] + character + csr[at + 1 :])
