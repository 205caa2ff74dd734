"""`d4-server sensors` and `d4-server certificate`, as an administrator uses them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from serving import Server, closed, packet
from waiting import wait_for

from d4sensor import identity
from d4server import sensors


@pytest.fixture
def server(tmp_path: Path, redis_socket: Path) -> Iterator[Server]:
    """A d4-server, not yet started."""
    server = Server(tmp_path, redis_socket)
    yield server
    server.daemon.stop()
    server.redis.close()


def listed(server: Server) -> list[UUID]:
    """What `sensors list` prints."""
    return [UUID(line) for line in server.command("sensors", "list").splitlines()]


def test_sensors_are_added_listed_and_removed(server: Server, tmp_path: Path) -> None:
    assert listed(server) == []
    one, two = sorted((uuid4(), uuid4()))
    key = server.command("sensors", "add", str(two)).strip()
    assert re.fullmatch("[0-9a-f]{64}", key), "the key that it made, and nothing else"
    (tmp_path / "key").write_bytes(b"  a key\r\n")
    assert server.command("sensors", "add", one.hex, "--key-file", str(tmp_path / "key")) == ""
    assert listed(server) == [one, two]
    assert server.redis.hget(f"d4:sensor:{one}", "key") == b"a key"
    assert server.redis.hget(f"d4:sensor:{two}", "key") == key.encode()
    assert server.command("sensors", "remove", str(two)) == ""
    assert listed(server) == [one]
    assert server.redis.keys("d4:sensor:*") == [f"d4:sensor:{one}".encode()]


def test_a_sensor_comes_in_by_the_file_that_it_made(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "10-identity.conf"
    identity.make(path)
    made = sensors.read_identity(path)
    assert server.command("sensors", "add", "--from", str(path)) == "", "the key is not shown"
    server.daemon.start()
    with server.connect() as connection:
        connection.sendall(packet(made.uuid, 3, b"x\n", made.key))
        wait_for(lambda: server.lines(made.uuid, "3") == [b"x"])


def test_a_new_key_takes_the_place_of_the_old(server: Server) -> None:
    uuid = server.sensor()
    server.command("sensors", "add", str(uuid), "--key-file", "-", input=b"another")
    server.daemon.start()
    with server.connect() as connection:
        connection.sendall(packet(uuid, 3, b"x\n"))
        assert closed(connection)
    with server.connect() as connection:
        connection.sendall(packet(uuid, 3, b"x\n", b"another"))
        wait_for(lambda: server.lines(uuid, "3") == [b"x"])


def test_what_cannot_be_done_is_said_in_a_line(server: Server, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    uuid = str(uuid4())
    for arguments, complaint in (
        (("remove", uuid), f"{uuid} is not a known sensor"),
        (("add",), "name the sensor's UUID"),
        (("add", uuid, "--key-file", str(tmp_path / "missing")), "missing cannot be read: No such file"),
        (("add", uuid, "--key-file", str(tmp_path / "empty")), "empty holds no key"),
        (("add", "--from", str(tmp_path / "empty")), "must set uuid and key"),
    ):
        result = server.attempt("sensors", *arguments)
        assert (result.returncode, result.stdout) == (1, b"")
        assert complaint in result.stderr.decode() and result.stderr.count(b"\n") == 1
    assert listed(server) == []


def test_no_redis_is_said_in_a_line(tmp_path: Path) -> None:
    server = Server(tmp_path, tmp_path / "nobody.sock")
    result = server.attempt("sensors", "list")
    server.redis.close()
    assert (result.returncode, result.stdout, result.stderr.count(b"\n")) == (1, b"", 1)
    assert f"Redis at unix://{tmp_path}/nobody.sock does not answer" in result.stderr.decode()


def test_the_certificate_command_says_what_there_is(server: Server, tmp_path: Path) -> None:
    said = server.command("certificate", "--directory", str(tmp_path), "--name", "d4.example.org")
    assert "d4.example.org" in said.splitlines()[0]
    assert re.search(r"(?m)^SHA-256: ([0-9A-F]{2}:){31}[0-9A-F]{2}$", said)
    assert f"for sensors: {tmp_path}/ca.pem" in said
    assert server.command("certificate", "--directory", str(tmp_path)) == said
    result = server.attempt("certificate", "--directory", str(tmp_path), "--name", "a b")
    assert result.returncode == 1 and result.stderr.count(b"\n") == 1


def test_what_the_server_cannot_do_without_ends_the_start(server: Server, tmp_path: Path) -> None:
    (tmp_path / "tls" / "server.key").unlink()
    result = server.attempt("run")
    assert result.returncode == 1
    assert b"server.key cannot be read" in result.stderr and b"d4-server certificate" in result.stderr
    assert b"Traceback" not in result.stderr
    server.command("certificate", "--directory", str(tmp_path))
    server.daemon.start()
    server.connect().close()


def test_a_port_that_is_taken_ends_the_start(server: Server, tmp_path: Path) -> None:
    server.daemon.start()
    result = server.attempt("run")
    assert result.returncode == 1
    assert f"cannot listen on 127.0.0.1 port {server.port}: Address already in use" in result.stderr.decode()
    assert b"Traceback" not in result.stderr


def test_a_broken_configuration_starts_nothing_and_says_all(server: Server) -> None:
    server.config.write_text("[d4]\ntls_prot = 1\nlisten = x\n[redis]\nurl = nonsense\n")
    for action in (["run"], ["config", "check"], ["config", "show"], ["sensors", "list"]):
        result = server.attempt(*action)
        assert (result.returncode, result.stdout) == (78, b"")
        assert result.stderr.count(f"{server.config}:".encode()) == 3
        assert b"Traceback" not in result.stderr
