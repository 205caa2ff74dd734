"""Drop-ins for socket units."""

from __future__ import annotations

from pathlib import Path

from d4common.config import Endpoint
from d4common.sockets import write_listen


def test_the_drop_in_takes_the_place_of_the_addresses_of_the_unit(tmp_path: Path) -> None:
    write_listen(tmp_path, "a.socket", "ListenDatagram", [Endpoint("::", 8337), Endpoint("10.0.0.1", 99)])
    assert (tmp_path / "a.socket.d" / "50-d4.conf").read_text() == (
        "[Socket]\nListenDatagram=\nListenDatagram=[::]:8337\nListenDatagram=10.0.0.1:99\n"
    )


def test_it_can_be_written_again(tmp_path: Path) -> None:
    for port in (1, 2):
        write_listen(tmp_path, "a.socket", "ListenStream", [Endpoint("127.0.0.1", port)])
    assert "ListenStream=127.0.0.1:2" in (tmp_path / "a.socket.d" / "50-d4.conf").read_text()
