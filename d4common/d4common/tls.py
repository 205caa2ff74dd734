"""TLS on both sides: 1.2 at least, and a client that verifies unless it was told in writing not to."""

from __future__ import annotations

import ssl
from functools import partial
from pathlib import Path


class TLSError(Exception):
    """A certificate, key or CA file cannot be used; the message says which and why."""


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """For a server with ``certificate`` (PEM, the leaf first) and its ``key``. Raises TLSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for path in (certificate, key):
        _must_be_readable(path)
    try:
        context.load_cert_chain(certificate, key, password=partial(_refuse_passphrase, key))
    except ssl.SSLError as error:
        raise TLSError(f"{certificate} and {key} are not a certificate and its key: {error}") from None
    return context


def client_context(ca: Path | None, verify: bool) -> ssl.SSLContext:
    """For a client that trusts the CAs in ``ca`` (PEM), or the system's where there is none.

    Raises TLSError. With ``verify`` false neither the certificate nor its name is looked at.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    if ca is None:
        context.load_default_certs()
        return context
    _must_be_readable(ca)
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError as error:
        raise TLSError(f"{ca} holds no CA certificate in PEM form: {error}") from None
    return context


def _refuse_passphrase(key: Path) -> str:
    raise TLSError(f"{key} has a passphrase; a daemon needs it without")


def _must_be_readable(path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise TLSError(f"{path} cannot be read: {error.strerror}") from None
