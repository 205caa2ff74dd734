"""The server's own CA and certificate, judged by OpenSSL and by a TLS client."""

from __future__ import annotations

import shutil
import ssl
import stat
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from d4common import tls
from d4server import certificates


def shake_hands(directory: Path, name: str) -> None:
    """A TLS handshake of a client that trusts ca.pem with the server, in memory. Raises ssl.SSLError."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = tls.server_context(directory / "tls" / "server.pem", directory / "tls" / "server.key")
    client = tls.client_context(directory / "ca.pem", verify=True)
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    while ends:
        end = ends.pop(0)
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            ends.append(end)


def test_each_of_its_names_is_verified_by_a_client(tmp_path: Path) -> None:
    certificate = certificates.ensure(tmp_path, ["d4.example.org", "192.0.2.7", "2001:db8::7"])
    names = certificates.names_of(certificate)
    assert {"localhost", "127.0.0.1", "::1", "d4.example.org", "192.0.2.7", "2001:db8::7"} <= set(names)
    for name in names:
        shake_hands(tmp_path, name)


@pytest.mark.parametrize("name", ["other.example.org", "example.org", "192.0.2.8", "sub.localhost"])
def test_a_name_that_it_lacks_is_refused(tmp_path: Path, name: str) -> None:
    certificates.ensure(tmp_path, ["d4.example.org"])
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        shake_hands(tmp_path, name)


def test_openssl_agrees(tmp_path: Path) -> None:
    certificate = certificates.ensure(tmp_path, ["d4.example.org"])
    server = str(tmp_path / "tls" / "server.pem")
    trusting = ["-CAfile", str(tmp_path / "ca.pem"), "-x509_strict", "-purpose", "sslserver"]
    verify = ["openssl", "verify", *trusting]
    subprocess.run([*verify, "-verify_hostname", "d4.example.org", server], check=True, capture_output=True)
    wrong = subprocess.run([*verify, "-verify_hostname", "example.org", server], capture_output=True)
    assert wrong.returncode != 0
    show = ["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", server]
    shown = subprocess.run(show, check=True, capture_output=True, text=True).stdout
    assert shown.strip().partition("=")[2] == certificates.fingerprint(certificate)


def test_keys_are_for_root_alone_and_certificates_for_all(tmp_path: Path) -> None:
    certificates.ensure(tmp_path, [])
    modes = {
        str(path.relative_to(tmp_path)): stat.S_IMODE(path.stat().st_mode)
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    assert modes == {"ca.pem": 0o644, "tls/ca.key": 0o600, "tls/server.key": 0o600, "tls/server.pem": 0o644}


def test_the_server_cannot_sign_and_the_ca_signs_nothing_but_servers(tmp_path: Path) -> None:
    leaf = certificates.ensure(tmp_path, [])
    ca = x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes())

    def constraints(certificate: x509.Certificate) -> x509.BasicConstraints:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value

    assert not constraints(leaf).ca
    assert constraints(ca).ca and constraints(ca).path_length == 0
    assert leaf.subject != ca.subject


def test_a_good_certificate_stays(tmp_path: Path) -> None:
    certificates.ensure(tmp_path, ["2001:DB8:0::7", "d4.example.org"])
    before = contents(tmp_path)
    certificates.ensure(tmp_path, [])
    for name in ("localhost", "2001:DB8:0::7", "d4.example.org"):
        certificates.ensure(tmp_path, [name, name])
    assert contents(tmp_path) == before


def contents(directory: Path) -> dict[Path, bytes]:
    """All files below a directory."""
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_a_further_name_is_added_to_the_old_ones(tmp_path: Path) -> None:
    old = certificates.ensure(tmp_path, ["one.example.org"])
    ca = (tmp_path / "ca.pem").read_bytes()
    new = certificates.ensure(tmp_path, ["two.example.org"])
    assert set(certificates.names_of(new)) == {*certificates.names_of(old), "two.example.org"}
    assert new.serial_number != old.serial_number
    assert (tmp_path / "ca.pem").read_bytes() == ca, "sensors keep the CA that they have"
    shake_hands(tmp_path, "one.example.org")
    shake_hands(tmp_path, "two.example.org")


def test_what_ends_soon_is_made_anew_with_its_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(certificates, "LIFE", certificates.RENEW - timedelta(minutes=1))
        old = certificates.ensure(tmp_path, ["one.example.org"])
    new = certificates.ensure(tmp_path, [])
    assert new.serial_number != old.serial_number
    assert set(certificates.names_of(new)) == set(certificates.names_of(old))
    assert certificates.ensure(tmp_path, []) == new
    shake_hands(tmp_path, "one.example.org")


@pytest.mark.parametrize("copied", [["server.pem"], ["server.key"], ["server.pem", "server.key"]])
def test_what_belongs_to_another_ca_is_replaced(tmp_path: Path, copied: list[str]) -> None:
    """A CA of the same name, since it is the same host; one file alone is what a crash would leave."""
    certificates.ensure(tmp_path / "own", [])
    certificates.ensure(tmp_path / "other", ["d4.example.org"])
    for name in copied:
        shutil.copy(tmp_path / "other" / "tls" / name, tmp_path / "own" / "tls" / name)
    names = certificates.names_of(certificates.ensure(tmp_path / "own", []))
    assert ("d4.example.org" in names) == ("server.pem" in copied), "the names stay"
    shake_hands(tmp_path / "own", "localhost")


@pytest.mark.parametrize("lost", ["tls/server.key", "tls/server.pem", "tls/ca.key"])
def test_what_was_lost_is_made_again_and_all_fits(tmp_path: Path, lost: str) -> None:
    certificates.ensure(tmp_path, [])
    if lost == "tls/ca.key":
        (tmp_path / "ca.pem").unlink()
    (tmp_path / lost).unlink()
    certificates.ensure(tmp_path, [])
    shake_hands(tmp_path, "localhost")


@pytest.mark.parametrize("broken", ["tls/server.pem", "tls/ca.key", "ca.pem"])
def test_a_file_that_is_not_what_its_name_says_is_an_error_and_stays(tmp_path: Path, broken: str) -> None:
    certificates.ensure(tmp_path, [])
    (tmp_path / broken).write_text("not PEM\n")
    before = contents(tmp_path)
    with pytest.raises(ValueError):
        certificates.ensure(tmp_path, ["d4.example.org"])
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["bücher.example", "", "a b", "https://d4.example.org"])
def test_what_is_no_name_is_an_error_and_nothing_changes(tmp_path: Path, name: str) -> None:
    certificates.ensure(tmp_path, [])
    before = contents(tmp_path)
    with pytest.raises(ValueError):
        certificates.ensure(tmp_path, [name])
    assert contents(tmp_path) == before


def test_keys_have_no_passphrase_and_are_not_those_of_another_host(tmp_path: Path) -> None:
    keys = set()
    for host in ("one", "two"):
        certificates.ensure(tmp_path / host, [])
        for name in ("ca.key", "server.key"):
            key = load_pem_private_key((tmp_path / host / "tls" / name).read_bytes(), None)
            keys.add(key.private_numbers().private_value)  # type: ignore[union-attr]
    assert len(keys) == 4
