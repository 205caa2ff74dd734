"""TLS on both sides: 1.2 at least, and a client that verifies unless it was told in writing not to."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from functools import partial
from pathlib import Path


class TLSError(Exception):
    """A certificate, key or CA file cannot be used; the message says which and why."""


def server_context(
    certificate: Path, key: Path, alpn: Sequence[str] = (), client_ca: Path | None = None
) -> ssl.SSLContext:
    """For a server with ``certificate`` (PEM, the leaf first) and its ``key``. Raises TLSError.

    ``alpn`` names the protocols that it picks from, where the client offers any (RFC 7301). With
    ``client_ca`` it asks clients for a certificate of that CA; whether one without may stay is not for TLS.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, alpn)
    context.options |= ssl.OP_NO_RENEGOTIATION  # it would cost the server more than the client
    _load_certificate(context, certificate, key)
    if client_ca is not None:
        _load_ca(context, client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def client_context(
    ca: Path | None, verify: bool, alpn: Sequence[str] = (), own: tuple[Path, Path] | None = None
) -> ssl.SSLContext:
    """For a client that trusts the CAs in ``ca`` (PEM), or the system's where there is none.

    Raises TLSError. With ``verify`` false neither the certificate nor its name is looked at. ``alpn``
    names the protocols that it offers (RFC 7301). ``own`` is its certificate and key, if it has one.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, alpn)
    if own is not None:
        _load_certificate(context, *own)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    if ca is None:
        context.load_default_certs()
        return context
    _load_ca(context, ca)
    return context


def _context(side: int, alpn: Sequence[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def _load_certificate(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    for path in (certificate, key):
        _must_be_readable(path)
    try:
        context.load_cert_chain(certificate, key, password=partial(_refuse_passphrase, key))
    except ssl.SSLError as error:
        raise TLSError(f"{certificate} and {key} are not a certificate and its key: {error}") from None


def _load_ca(context: ssl.SSLContext, ca: Path) -> None:
    _must_be_readable(ca)
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError as error:
        raise TLSError(f"{ca} holds no CA certificate in PEM form: {error}") from None


def _refuse_passphrase(key: Path) -> str:
    raise TLSError(f"{key} has a passphrase; a daemon needs it without")


def _must_be_readable(path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise TLSError(f"{path} cannot be read: {error.strerror}") from None
