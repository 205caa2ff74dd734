"""The commands that are made of the operations, with a real Redis: what they print, and how they fail."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from serving import Server

from demo.chain import PYTHON, environment


@pytest.fixture
def server(tmp_path: Path, redis_socket: Path) -> Server:
    """A server's configuration and commands; it does not run."""
    return Server(tmp_path, redis_socket)


def objects(server: Server, *arguments: str) -> list[dict[str, object]]:
    """What a command prints as JSON."""
    return [json.loads(line) for line in server.command(*arguments, "--json").splitlines()]


def test_the_tutorial(server: Server) -> None:
    """A type is accepted under a name, and a queue made for it, with a UUID of one's own or a new one."""
    server.command("types", "accept", "254", "--name", "weather", "--description", "from the roof")
    [found] = [each for each in objects(server, "types", "list") if each["name"] == "weather"]
    assert (found["accepted"], found["description"]) == (True, "from the roof")
    own = str(uuid4())
    server.command("queues", "create", "weather", "--name", own)
    [made] = objects(server, "queues", "create", "weather")
    assert UUID(str(made["name"])).version == 4
    assert {each["name"] for each in objects(server, "queues", "list")} == {own, made["name"]}
    head, *rows = server.command("queues", "list").splitlines()
    assert head.split()[:4] == ["NAME", "TYPE", "LAG", "PENDING"]
    assert sorted(row.split()[0] for row in rows) == sorted([own, str(made["name"])])
    assert server.command("queues", "delete", own) == ""
    assert own not in server.command("queues"), "it lists them, without an action"


def test_one_thing_is_lines_with_tables_below(server: Server) -> None:
    uuid = str(uuid4())
    server.command("sensors", "add", uuid)
    server.command("sensors", "rename", uuid, "north")
    shown = server.command("sensors", "show", uuid)
    assert re.search(r"^name +north$", shown, re.MULTILINE)
    assert re.search(r"^added +\d{4}-\d\d-\d\d \d\d:\d\d$", shown, re.MULTILINE)
    assert "\nhistory:\nDATE " in shown
    assert re.search(r"^sensors +1 approved, 0 pending, 0 revoked$", server.command("overview"), re.MULTILINE)


def test_long_lists_are_printed_to_their_end_or_a_page_of_them(server: Server) -> None:
    server.command("groups", "create", "gates")
    [(_, entry)] = server.redis.xrange("d4:{admin}:audit")
    for _ in range(205):
        server.redis.xadd("d4:{admin}:audit", entry)
    assert len(objects(server, "audit", "list")) == 206
    assert len(objects(server, "audit", "list", "--page", "2", "--size", "200")) == 6


def test_what_root_changes_is_in_the_audit_trail_without_secrets(server: Server) -> None:
    uuid = str(uuid4())
    secret = b"the sensor's own key"
    server.command("sensors", "register", uuid, "--hmac-key-file", "-", input=secret)
    server.command("sensors", "approve", uuid)
    trail = server.command("audit", "list")
    assert [line for line in trail.splitlines() if "root" in line and "sensors.approve" in line]
    assert secret.decode() not in trail
    assert server.redis.hget(f"d4:{{sensors}}:{uuid}", "key") == secret


def test_users_and_tokens_are_made(server: Server) -> None:
    password = re.search(r"^password +(\S+)$", server.command("users", "create", "eve"), re.MULTILINE)
    assert password
    made = server.command("tokens", "create", "hers", "viewer", "--user", "eve")
    assert re.search(r"^token +d4_\S+$", made, re.MULTILINE)
    assert password[1] not in server.command("users", "list")


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("queues", "show", "none"), 1, "there is no queue none"),
        (("queues", "create", "a b"), 2, "argument type: 'a b' must be"),
        (("users", "create", "root"), 2, "argument name: 'root' must"),
        (("sensors", "register", str(uuid4())), 2, "the following arguments are required: --hmac-key-file"),
        (("sensors", "register", str(uuid4()), "--hmac-key-file", "/dev/null"), 1, "holds no hmac_key"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(
    arguments: tuple[str, ...], status: int, said: str, server: Server
) -> None:
    result = server.attempt(*arguments)
    assert (result.returncode, result.stdout) == (status, b"")
    assert said in result.stderr.decode().splitlines()[-1]


def test_whoever_reads_may_have_seen_enough(server: Server) -> None:
    command = [*server.base, "types", "list"]
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""


def test_what_systemd_waits_for_knows_nothing_of_operations(tmp_path: Path) -> None:
    command = [PYTHON, "-X", "importtime", "-m", "d4server", "sockets", str(tmp_path)]
    result = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60)
    assert "d4server.config" in result.stderr
    assert "d4server.operations" not in result.stderr
    assert "redis" not in result.stderr.replace("redis_url", "")
