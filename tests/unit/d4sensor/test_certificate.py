"""The sensor's certificate: what it asks for, and when it ends."""

from __future__ import annotations

import stat
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from d4sensor import certificate
from d4server import client_certificates


def test_the_key_is_made_once_for_root_alone_and_asked_with_again(tmp_path: Path) -> None:
    path = tmp_path / "sensor.key"
    uuid = uuid4()
    one = client_certificates.public_key(certificate.request(uuid, path))
    assert isinstance(one.curve, ec.SECP256R1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    two = client_certificates.public_key(certificate.request(uuid, path))
    assert one.public_numbers() == two.public_numbers()
    csr = x509.load_pem_x509_csr(certificate.request(uuid, path).encode())
    assert csr.subject.rfc4514_string() == f"CN={uuid}"


def test_it_is_due_a_month_before_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tls").mkdir()
    client_certificates.ensure(tmp_path)
    key = client_certificates.public_key(certificate.request(uuid4(), tmp_path / "sensor.key"))
    path = tmp_path / "sensor.pem"
    for days, due in ((29, True), (31, False), (365, False)):
        monkeypatch.setattr(client_certificates, "LIFE", timedelta(days=days))
        ca = (tmp_path / "tls" / "clients.pem", tmp_path / "tls" / "clients.key")
        certificate.replace(path, client_certificates.sign(uuid4(), key, *ca))
        assert certificate.is_due(path) == due


def test_files_that_hold_something_else_are_errors(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    with pytest.raises(ValueError):
        certificate.request(uuid4(), tmp_path / "x")
    with pytest.raises(ValueError):
        certificate.is_due(tmp_path / "x")
    with pytest.raises(OSError):
        certificate.is_due(tmp_path / "missing")
