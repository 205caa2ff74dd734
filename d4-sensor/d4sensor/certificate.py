"""The sensor's own certificate for mutual TLS, if it has one: its key, requests for it, when it ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from d4common import files

RENEW = timedelta(days=30)
"""A certificate that ends sooner than this is due."""


def request(sensor: UUID, key_path: Path) -> str:
    """A request for a certificate (CSR, PEM) for the key in a file, which is made if it is not there.

    The key stays the same for as long as the file does, so that key and certificate fit together whenever
    the certificate is replaced. Raises OSError, and ValueError where the file holds no such key.
    """
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(sensor))])
    signed = x509.CertificateSigningRequestBuilder().subject_name(name).sign(_key(key_path), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def is_due(path: Path) -> bool:
    """Whether the certificate in a file ends soon. Raises OSError, and ValueError where it holds none."""
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    if hasattr(certificate, "not_valid_after_utc"):  # cryptography gave it that name in 42
        ends: datetime = certificate.not_valid_after_utc
    else:
        ends = certificate.not_valid_after.replace(tzinfo=UTC)
    return ends < datetime.now(UTC) + RENEW


def replace(path: Path, certificate: str) -> None:
    """Writes a certificate (PEM). Raises OSError."""
    files.replace(path, certificate.encode(), 0o644)


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    if path.exists():
        key = serialization.load_pem_private_key(path.read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{path} holds no key on the curve P-256")
        return key
    key = ec.generate_private_key(ec.SECP256R1())
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    files.replace(path, key.private_bytes(serialization.Encoding.PEM, form, plain), 0o600)
    return key
