"""TLS contexts: what they insist on, and what they say about files that cannot be used."""

from __future__ import annotations

import ssl
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import Certificates
from cryptography.hazmat.primitives import serialization

from d4common.tls import TLSError, client_context, server_context


def test_client_verifies_unless_told_not_to(certificates: Certificates) -> None:
    for verified in (client_context(certificates.ca, True), client_context(None, True)):
        assert verified.check_hostname and verified.verify_mode == ssl.CERT_REQUIRED
    trusting = client_context(certificates.ca, False)
    assert not trusting.check_hostname and trusting.verify_mode == ssl.CERT_NONE


def test_client_trusts_the_named_ca_alone(certificates: Certificates) -> None:
    assert len(client_context(certificates.ca, True).get_ca_certs()) == 1


def test_tls_is_1_2_at_least_on_both_sides(certificates: Certificates) -> None:
    server = server_context(certificates.certificate, certificates.key)
    for context in (server, client_context(certificates.ca, True), client_context(None, False)):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_protocols_are_agreed_on_where_both_have_one(certificates: Certificates) -> None:
    def picked(offered: list[str], known: list[str]) -> str | None:
        server = server_context(certificates.certificate, certificates.key, known)
        client = client_context(certificates.ca, True, offered)
        here, there = ssl.MemoryBIO(), ssl.MemoryBIO()
        ends = [
            client.wrap_bio(here, there, server_hostname="localhost"),
            server.wrap_bio(there, here, server_side=True),
        ]
        for _ in range(3):
            for end in ends:
                with suppress(ssl.SSLWantReadError):
                    end.do_handshake()
        return ends[0].selected_alpn_protocol()

    assert picked(["d4-ack/1"], ["d4-enroll/1", "d4-ack/1"]) == "d4-ack/1"
    assert picked(["d4-ack/1"], []) is picked([], ["d4-ack/1"]) is picked(["d4-ack/1"], ["x"]) is None


def test_unusable_files_are_named_with_the_reason(certificates: Certificates, tmp_path: Path) -> None:
    missing, empty = tmp_path / "missing.pem", tmp_path / "empty.pem"
    empty.touch()
    good, key = certificates.certificate, certificates.key
    for make, complaint in (
        (lambda: server_context(missing, key), f"{missing} cannot be read: No such file"),
        (lambda: server_context(good, missing), f"{missing} cannot be read: No such file"),
        (lambda: server_context(good, tmp_path), f"{tmp_path} cannot be read: Is a directory"),
        (lambda: server_context(empty, key), f"{empty} and {key} are not a certificate and its key"),
        (lambda: server_context(good, good), f"{good} and {good} are not a certificate and its key"),
        (lambda: server_context(certificates.ca, key), f"{certificates.ca} and {key} are not a certificate"),
        (lambda: client_context(missing, True), f"{missing} cannot be read: No such file"),
        (lambda: client_context(empty, True), f"{empty} holds no CA certificate"),
        (lambda: client_context(key, True), f"{key} holds no CA certificate"),
    ):
        with pytest.raises(TLSError, match=complaint):
            make()


def test_key_with_a_passphrase_is_refused_and_nobody_asked(
    certificates: Certificates, tmp_path: Path
) -> None:
    key = serialization.load_pem_private_key(certificates.key.read_bytes(), None)
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"passphrase"),
        )
    )
    with pytest.raises(TLSError, match=f"{locked} .*passphrase"):
        server_context(certificates.certificate, locked)
