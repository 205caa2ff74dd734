"""`d4-server sockets`: what systemd's generator is told."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest

from d4server.__main__ import write_sockets


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("tls_port = 443", "[::]:443"),
        ("listen = 192.0.2.1", "192.0.2.1:4443"),
        ("listen = 2001:db8::1\ntls_port = 1", "[2001:db8::1]:1"),
    ],
)
def test_the_socket_listens_where_the_configuration_says(tmp_path: Path, text: str, endpoint: str) -> None:
    write(tmp_path, text)
    written = (tmp_path / "units" / "d4-server.socket.d" / "50-d4.conf").read_text()
    assert written == f"[Socket]\nListenStream=\nListenStream={endpoint}\n"


def test_that_of_the_page_does_too(tmp_path: Path) -> None:
    write(tmp_path, "[web]\nlisten = 127.0.0.1\nhttps_port = 8443")
    written = (tmp_path / "units" / "d4-server-web.socket.d" / "50-d4.conf").read_text()
    assert written == "[Socket]\nListenStream=\nListenStream=127.0.0.1:8443\n"
    assert not (tmp_path / "units" / "d4-server.socket.d").exists()


@pytest.mark.parametrize("text", ["", "listen = ::\ntls_port = 4443", "types = 3"])
def test_the_unit_says_the_default_itself(tmp_path: Path, text: str) -> None:
    write(tmp_path, text)
    assert not (tmp_path / "units").exists()


def test_a_broken_configuration_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="78"):
        write(tmp_path, "tls_port = 443\nlisten = x")
    assert "listen = x" in capsys.readouterr().err
    assert not (tmp_path / "units").exists()


def write(directory: Path, text: str) -> None:
    """Runs the command with this in section [d4], for the directory ``units``."""
    (directory / "server.conf").write_text(f"[d4]\n{text}\n")
    write_sockets(Namespace(config=directory / "server.conf", directory=directory / "units"))
