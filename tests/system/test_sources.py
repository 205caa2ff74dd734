"""Sources as services: d4-source@NAME on a host where apt has installed the packages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from uuid import UUID

import pytest
from system.machines import Failed, Machine
from waiting import wait_for

from d4common.records import partition, stream

REDIS = "/run/redis-d4/redis-server.sock"

DATA = """
local found = {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do
    for at = 1, #entry[2], 2 do
        if entry[2][at] == 'data' then found[#found + 1] = entry[2][at + 1] end
    end
end
return table.concat(found)
"""
"""What all entries of a stream have of data."""

WRITE = """
import socket, sys
client = socket.socket(socket.AF_UNIX)
client.connect("/run/d4/lines.sock")
client.sendall(sys.argv[1].encode())
"""


@pytest.fixture(scope="module")
def host() -> Iterator[Machine]:
    """A host with sensor and server, which know each other."""
    with Machine("sources") as machine:
        machine.install("./*.deb")
        wait_for(lambda: machine.units().get("d4-sensor.service") == "active", 30)
        yield machine


def start(host: Machine, name: str, text: str, unit: str = "service") -> None:
    """Describes a source, and starts it now and at each boot."""
    host.write(f"/etc/d4/sources.d/{name}.conf", f"[source]\n{text}\n")
    host.run("systemctl", "enable", "--now", f"d4-source@{name}.{unit}")


def stored(host: Machine, type: str) -> list[str]:
    """What the server has of a type, by lines."""
    uuid = re.search(r"(?m)^uuid = (.*)$", host.run("d4-sensor", "config", "show"))
    assert uuid is not None
    key = stream(type, partition(UUID(uuid[1])))
    shown = host.run("redis-cli", "-s", REDIS, "--raw", "EVAL", DATA, "1", key)
    return shown.removesuffix("\n").splitlines()


def write_line(host: Machine, group: str, line: str) -> None:
    """Writes to the socket of the source ``lines``, as a member of a group."""
    who = ("setpriv", "--reuid=nobody", f"--regid={group}", "--clear-groups")
    host.run(*who, "/usr/bin/python3", "-c", WRITE, line)


def test_a_log_is_followed_over_restarts_and_a_reboot(host: Machine) -> None:
    host.write("/var/log/app.log", "one\n")
    host.run("chgrp", "adm", "/var/log/app.log")
    host.run("chmod", "640", "/var/log/app.log")
    start(host, "app", "kind = file\ntype = 3\npath = /var/log/app.log")
    wait_for(lambda: "one" in stored(host, "3"), 30)
    host.run("sh", "-c", "echo two >> /var/log/app.log; systemctl kill --signal=KILL d4-source@app")
    wait_for(lambda: "two" in stored(host, "3"), 30)
    host.run("sh", "-c", "systemctl stop d4-source@app; echo three >> /var/log/app.log")
    host.reboot()
    wait_for(lambda: "three" in stored(host, "3"), 60)
    assert [line for line in stored(host, "3") if line in ("one", "two", "three")] == ["one", "two", "three"]


def test_lines_that_members_of_a_group_write_are_sent(host: Machine) -> None:
    start(host, "lines", "kind = unix\ntype = 8", unit="socket")
    write_line(host, "_d4-source", "first\n")
    wait_for(lambda: stored(host, "8") == ["first"], 30)
    host.run("systemctl", "stop", "d4-source@lines.service")
    write_line(host, "_d4-source", "second\n")
    wait_for(lambda: stored(host, "8") == ["first", "second"], 30)
    with pytest.raises(Failed, match="Permission denied"):
        write_line(host, "nogroup", "third\n")


def test_the_journal_is_sent(host: Machine) -> None:
    start(host, "journal", "kind = journal\nmatch = SYSLOG_IDENTIFIER=of-the-test")
    wait_for(lambda: host.units().get("d4-source@journal.service") == "active", 30)
    host.run("sh", "-c", "sleep 2; echo a message | systemd-cat --identifier=of-the-test")
    wait_for(lambda: stored(host, "6"), 30)
    assert [json.loads(line)["MESSAGE"] for line in stored(host, "6")] == ["a message"]


def test_frames_are_captured(host: Machine) -> None:
    start(host, "frames", "kind = pcap\ninterface = lo\nfilter = icmp")
    wait_for(lambda: "is being captured" in host.run("journalctl", "-u", "d4-source@frames"), 30)
    host.run("sh", "-c", "ping -c 3 127.0.0.1 > /dev/null")
    wait_for(lambda: stored(host, "1"), 30)


def test_no_source_has_failed(host: Machine) -> None:
    names = ("app", "lines", "journal", "frames")
    assert {host.units().get(f"d4-source@{name}.service") for name in names} == {"active"}
    assert not host.run("journalctl", "--priority=err", "--quiet", "-u", "d4-source@*")
