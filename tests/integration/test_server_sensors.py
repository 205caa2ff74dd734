"""`d4-server sensors` and `d4-server certificate`, as an administrator uses them."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from enrolling import CLAIM
from serving import KEY, Server, closed, packet
from waiting import wait_for

from d4common import enrolling, redis_client
from d4common.enrolling import Enroll
from d4sensor import identity
from d4server import admission, sensors


@pytest.fixture
def server(tmp_path: Path, redis_socket: Path) -> Iterator[Server]:
    """A d4-server, not yet started."""
    server = Server(tmp_path, redis_socket)
    yield server
    server.daemon.stop()
    server.redis.close()


def listed(server: Server) -> list[UUID]:
    """The sensors that `sensors list` shows."""
    return [UUID(line.split()[0]) for line in server.command("sensors", "list").splitlines()[1:]]


def states(server: Server) -> dict[UUID, str]:
    """The sensors that `sensors list --json` shows, with their states."""
    shown = map(json.loads, server.command("sensors", "list", "--json").splitlines())
    return {UUID(sensor["uuid"]): sensor["state"] for sensor in shown}


def ask(server: Server, uuid: UUID, token: str | None = None) -> None:
    """Has a sensor ask to be let in."""

    async def enroll() -> None:
        redis = redis_client.connect(f"unix://{server.redis_path}")
        await admission.enroll(redis, Enroll(uuid, "the lobby", CLAIM, token), "192.0.2.1")
        await redis_client.close(redis)

    asyncio.run(enroll())


def test_sensors_are_added_listed_and_removed(server: Server, tmp_path: Path) -> None:
    assert listed(server) == []
    one, two = sorted((uuid4(), uuid4()))
    key = server.command("sensors", "add", str(two)).strip()
    assert re.fullmatch("[0-9a-f]{64}", key), "the key that it made, and nothing else"
    (tmp_path / "key").write_bytes(b"  a key\r\n")
    assert server.command("sensors", "add", one.hex, "--key-file", str(tmp_path / "key")) == ""
    assert listed(server) == [one, two]
    assert server.redis.hget(f"d4:{{sensors}}:{one}", "key") == b"a key"
    assert server.redis.hget(f"d4:{{sensors}}:{two}", "key") == key.encode()
    assert server.command("sensors", "remove", str(two)) == ""
    assert listed(server) == [one]
    assert server.redis.keys("d4:{sensors}:*") == [f"d4:{{sensors}}:{one}".encode()]


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


def test_a_command_says_where_no_replica_has_what_it_wrote(server: Server) -> None:
    """And shows no key then that the next master may not know."""
    server.config.write_text(server.config.read_text().replace("[redis]\n", "[redis]\nreplicas = 1\n"))
    result = server.attempt("sensors", "add", str(uuid4()))
    assert (result.returncode, result.stdout) == (1, b"")
    assert b"fewer than 1 replicas have what it stores" in result.stderr


def test_the_list_is_a_table_with_names_and_codes(server: Server) -> None:
    one, two = sorted((uuid4(), uuid4()))
    ask(server, one)
    server.command("sensors", "add", str(two))
    head, waiting, known = server.command("sensors", "list").splitlines()
    assert head.split() == ["UUID", "STATE", "SOURCE", "ADDED", "SEEN", "TODAY", "CODE", "NAME"]
    code = enrolling.code(enrolling.digest(CLAIM))
    when = r"\d{4}-\d\d-\d\d \d\d:\d\d"
    assert re.fullmatch(rf"{one}  pending   -  +{when}  - +0  {code}  the lobby", waiting)
    assert re.fullmatch(rf"{two}  approved  added  +{when}  - +0  -", known)
    assert server.command("sensors") == server.command("sensors", "list")


def test_the_list_says_by_what_each_came_in(server: Server) -> None:
    """By a shared secret, too: test_limits.py has that."""
    added, approved, token = uuid4(), uuid4(), uuid4()
    server.command("sensors", "add", str(added))
    ask(server, approved)
    server.command("sensors", "approve", str(approved))
    ask(server, token, server.command("sensors", "token").strip())
    shown = map(json.loads, server.command("sensors", "list", "--json").splitlines())
    wanted = {str(added): "added", str(approved): "approved", str(token): "token"}
    assert {each["uuid"]: each["source"] for each in shown} == wanted
    server.command("sensors", "add", str(token))
    server.command("sensors", "revoke", str(token))
    (row,) = [line for line in server.command("sensors").splitlines() if line.startswith(str(token))]
    assert row.split()[1:3] == ["revoked", "added"], "its last key was"


def test_a_sensor_is_approved_revoked_and_forgotten(server: Server) -> None:
    uuid = uuid4()
    ask(server, uuid)
    assert states(server) == {uuid: "pending"}
    server.command("sensors", "approve", str(uuid))
    assert states(server) == {uuid: "approved"}
    server.command("sensors", "revoke", str(uuid))
    assert states(server) == {uuid: "revoked"}
    for action in ("add", "approve"):
        result = server.attempt("sensors", action, str(uuid))
        assert result.returncode == 1 and f"sensors remove {uuid}" in result.stderr.decode()
    server.command("sensors", "remove", str(uuid))
    assert states(server) == {} and not server.redis.keys("d4:{sensors}*")


def test_a_revoked_sensor_is_refused(server: Server) -> None:
    uuid = server.sensor()
    server.daemon.start()
    server.command("sensors", "revoke", str(uuid))
    with server.connect() as connection:
        connection.sendall(packet(uuid, 3, b"x\n"))
        assert closed(connection)


def test_both_keys_are_taken_after_a_rotation(server: Server) -> None:
    uuid = server.sensor()
    key = server.command("sensors", "rotate", str(uuid)).strip().encode()
    server.command("sensors", "add", str(uuid), "--key-file", "-", input=key)
    server.daemon.start()
    for number, valid in enumerate((KEY, key), 1):
        with server.connect() as connection:
            connection.sendall(packet(uuid, 3, b"x\n", valid))
            wait_for(lambda count=number: len(server.lines(uuid, "3")) == count)


def test_a_token_is_printed_and_ends_in_time(server: Server) -> None:
    token = server.command("sensors", "token", "--name", "the lobby", "--valid", "2h").strip()
    (key,) = server.redis.keys("d4:{sensors}:token:*")
    assert token.encode() not in key, "nobody can use what stands in Redis"
    assert server.redis.get(key) == b"the lobby"
    assert 7190 <= server.redis.ttl(key) <= 7200
    assert re.fullmatch("[0-9a-f]{32}\n", server.command("sensors", "token")), "for a day, for any name"
    for wrong in (("--valid", "x"), ("--valid", "0s"), ("--name", "a\nb")):
        assert b"must " in server.attempt("sensors", "token", *wrong).stderr


def test_what_cannot_be_done_is_said_in_a_line(server: Server, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    uuid = str(uuid4())
    for arguments, complaint in (
        (("remove", uuid), f"{uuid} is not a known sensor"),
        (("revoke", uuid), f"{uuid} is not a known sensor"),
        (("approve", uuid), f"{uuid} does not wait for approval"),
        (("rotate", uuid), f"{uuid} is not a sensor that may connect"),
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
