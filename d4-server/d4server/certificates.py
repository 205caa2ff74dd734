"""The server's own CA and certificate, made where there are none, for a network that has no CA of its own.

``ca.pem`` goes to every sensor; ``tls/ca.key`` never leaves the server and is read only here.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from d4common import files
from d4common.config import endpoint

CA_LIFE = timedelta(days=3650)
LIFE = timedelta(days=730)
RENEW = timedelta(days=30)
"""A certificate that ends sooner than this is made anew."""


def ensure(directory: Path, names: list[str]) -> x509.Certificate:
    """The certificate in ``directory``/tls, made if it is absent, ends soon or lacks one of ``names``.

    Names are host names and addresses. Those of a certificate that is replaced are kept. Raises OSError,
    and ValueError where a name is none, or a file there is not what d4-server made.
    """
    tls = directory / "tls"
    if not tls.exists():
        tls.mkdir(parents=True)
        tls.chmod(
            0o755
        )  # whatever the umask: the daemon reads its certificate there; keys have their own mode
    ca, ca_key = _ensure_ca(directory / "ca.pem", tls / "ca.key")
    path = tls / "server.pem"
    old = x509.load_pem_x509_certificate(path.read_bytes()) if path.exists() else None
    known = names_of(old) if old is not None else local_names()
    wanted = list(dict.fromkeys(known + [_name(name) for name in names]))
    if old is not None and wanted == known and _is_good(old, tls / "server.key", ca):
        return old
    key = ec.generate_private_key(ec.SECP256R1())
    purpose = ExtendedKeyUsageOID.SERVER_AUTH
    certificate = issue(wanted[0], key.public_key(), purpose, LIFE, (ca, ca_key), wanted)
    files.replace(tls / "server.key", _key_pem(key), 0o600)
    files.replace(path, pem(certificate), 0o644)
    return certificate


def local_names() -> list[str]:
    """What this host is called, as far as it knows itself."""
    names = [socket.gethostname(), socket.getfqdn(), "localhost", "127.0.0.1", "::1"]
    return list(dict.fromkeys(names))


def names_of(certificate: x509.Certificate) -> list[str]:
    """The host names and addresses that a certificate is valid for."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    dns = names.get_values_for_type(x509.DNSName)
    return dns + [str(address) for address in names.get_values_for_type(x509.IPAddress)]


def ends(certificate: x509.Certificate) -> datetime:
    """When a certificate stops to be valid; cryptography gave that another name in 42."""
    if hasattr(certificate, "not_valid_after_utc"):
        moment: datetime = certificate.not_valid_after_utc
        return moment
    return certificate.not_valid_after.replace(tzinfo=UTC)


def end_of(path: Path) -> float | None:
    """When the certificate in a file ends, in seconds since the epoch; None where it cannot be read."""
    try:
        return ends(x509.load_pem_x509_certificate(path.read_bytes())).timestamp()
    except (OSError, ValueError):
        return None


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of a certificate, as `openssl x509 -fingerprint -sha256` writes it."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def read_ca(path: Path, key_path: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A CA and its key. Raises OSError, and ValueError where they are not what make_ca() made."""
    key = serialization.load_pem_private_key(key_path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{key_path} is not a key that d4-server made")
    return x509.load_pem_x509_certificate(path.read_bytes()), key


def make_ca(path: Path, key_path: Path, name: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A new CA of this name and its key, which only root can read. Raises OSError."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _common_name(name)
    certificate = (
        _builder(subject, subject, key.public_key(), CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    files.replace(key_path, _key_pem(key), 0o600)
    files.replace(path, pem(certificate), 0o644)
    return certificate, key


def issue(
    subject: str,
    key: ec.EllipticCurvePublicKey,
    purpose: x509.ObjectIdentifier,
    life: timedelta,
    ca: tuple[x509.Certificate, ec.EllipticCurvePrivateKey],
    names: Sequence[str] = (),
) -> x509.Certificate:
    """A certificate with its common name, extended key usage and other names, signed by a CA."""
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca[1].public_key())
    issued = (
        _builder(_common_name(subject), ca[0].subject, key, life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(authority, critical=False)
    )
    if names:
        others = x509.SubjectAlternativeName([_general(name) for name in names])
        issued = issued.add_extension(others, critical=False)
    return issued.sign(ca[1], hashes.SHA256())


def pem(certificate: x509.Certificate) -> bytes:
    """A certificate in PEM form."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def _ensure_ca(path: Path, key_path: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    if path.exists() and not key_path.exists():
        raise ValueError(
            f"{path} is a CA whose key is not here: have it sign {key_path.with_name('server.pem')}, "
            f"or move it away and d4-server makes a CA of its own"
        )
    if path.exists():
        return read_ca(path, key_path)
    return make_ca(path, key_path, f"D4 CA of {socket.gethostname()}")


def _common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, life: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # clocks of sensors differ
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(name: str) -> str:
    """A host name or an address, in its one canonical spelling. Raises ValueError."""
    try:
        return str(ip_address(name))
    except ValueError:
        return endpoint(default_port=443)(name).host


def _is_good(certificate: x509.Certificate, key_path: Path, ca: x509.Certificate) -> bool:
    """Whether a certificate lasts a while, was signed by the CA, and its key is there."""
    if ends(certificate) < datetime.now(UTC) + RENEW:
        return False
    authority, algorithm = ca.public_key(), certificate.signature_hash_algorithm
    if not isinstance(authority, ec.EllipticCurvePublicKey) or algorithm is None:
        return False
    try:
        signed = certificate.tbs_certificate_bytes
        authority.verify(certificate.signature, signed, ec.ECDSA(algorithm))
        key = serialization.load_pem_private_key(key_path.read_bytes(), None)
    except (InvalidSignature, OSError, ValueError, TypeError):
        return False
    return _public_pem(key.public_key()) == _public_pem(certificate.public_key())


def _public_pem(key: Any) -> bytes:
    encoding, kind = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    public: bytes = key.public_bytes(encoding, kind)
    return public


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
