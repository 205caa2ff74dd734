"""Certificates of sensors, for mutual TLS: their own CA, and what it signs.

It is another CA than that of the server, because the daemon that faces the network has to sign with it.
Whoever steals its key there can pretend to be a sensor to TLS, which still needs the sensor's HMAC key, but
can never pretend to be a server to the sensors.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from d4server import certificates

LIFE = timedelta(days=365)


class BadRequest(Exception):
    """A request for a certificate (CSR) that cannot be signed; the message says why."""


def ensure(directory: Path) -> None:
    """Makes the CA in ``directory``/tls, clients.pem and clients.key, if it is absent. Raises OSError."""
    path, key_path = directory / "tls" / "clients.pem", directory / "tls" / "clients.key"
    if not (path.exists() and key_path.exists()):
        certificates.make_ca(path, key_path, f"D4 sensors of {socket.gethostname()}")


def public_key(csr: str) -> ec.EllipticCurvePublicKey:
    """The key that a CSR (PEM) is for. Raises BadRequest.

    Only P-256: to check a signature of a key that a stranger chose could take very long otherwise.
    """
    try:
        request = x509.load_pem_x509_csr(csr.encode())
        key = request.public_key()
        fits = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
        good = fits and request.is_signature_valid
    except (
        Exception
    ):  # cryptography lets out what OpenSSL says of a stranger's bytes, in any class of its own
        raise BadRequest("the request for a certificate is no CSR in PEM form") from None
    if not good or not isinstance(key, ec.EllipticCurvePublicKey):
        raise BadRequest(
            "the request for a certificate is not for, and signed with, a key on the curve P-256"
        )
    return key


def sign(sensor: UUID, key: ec.EllipticCurvePublicKey, ca: Path, ca_key: Path) -> str:
    """A certificate in PEM form for a sensor, whose UUID is its common name. Raises OSError, ValueError."""
    authority = certificates.read_ca(ca, ca_key)
    issued = certificates.issue(str(sensor), key, ExtendedKeyUsageOID.CLIENT_AUTH, LIFE, authority)
    return certificates.pem(issued).decode()


def names(peer: Mapping[str, Any] | None, sensor: UUID) -> bool:
    """Whether a peer's certificate, as ssl.SSLObject.getpeercert() gives it, is that of this sensor."""
    subject = (peer or {}).get("subject", ())
    return [value for part in subject for name, value in part if name == "commonName"] == [str(sensor)]
