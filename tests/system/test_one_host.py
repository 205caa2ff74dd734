"""`apt install ./*.deb` on one fresh host gives a running chain, and `apt purge` takes all of it away."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from system.machines import Machine
from waiting import wait_for

PACKAGES = ("d4-exporter", "d4-sensor", "d4-server", "maltrail-collector", "python3-d4common")
SERVICES = (
    "d4-exporter@maltrail.service",
    "d4-sensor.service",
    "d4-server.service",
    "d4-server-web.service",
    "maltrail-collector.service",
)
RELOADABLE = tuple(unit for unit in SERVICES if "exporter" not in unit)
SOCKETS = (
    "d4-server.socket",
    "d4-server-web.socket",
    "maltrail-collector.socket",
    "maltrail-collector-web.socket",
)

EXPOSURE = {
    "d4-exporter@maltrail.service": 1.3,
    "d4-sensor.service": 1.8,
    "d4-sensor-update.service": 1.8,
    "d4-server.service": 0.5,
    "d4-server-web.service": 0.5,
    "maltrail-collector.service": 0.5,
}
"""What `systemd-analyze security` may come to, from 0 (nothing exposed) to 10."""

TRACES = (
    "/etc/d4",
    "/etc/redis/*d4*",
    "/etc/systemd/system/*/d4-*",
    "/etc/systemd/system/*/maltrail-*",
    "/run/redis-d4",
    "/usr/share/d4",
    "/var/lib/d4-*",
    "/var/lib/maltrail-collector",
    "/var/lib/redis/*d4*",
    "/var/log/maltrail",
)
"""Where the packages and what they run leave files."""

BAD_ADDRESS = "136.161.101.53"
"""One of the trails that d4-sensor brings: an address to try a sensor with."""


@pytest.fixture(scope="module")
def host() -> Iterator[Machine]:
    """A host on which apt has installed all packages, and nothing else was done."""
    with Machine("host") as machine:
        machine.install("./*.deb")
        yield machine


def test_every_unit_is_active(host: Machine) -> None:
    wait_for(lambda: {host.units().get(unit) for unit in (*SERVICES, *SOCKETS)} == {"active"}, 30)
    assert not host.run("systemctl", "list-units", "--failed", "--no-legend")


def test_a_ping_becomes_an_event(host: Machine) -> None:
    give_route(host)
    password = first_password(host)
    host.run("sh", "-c", f"ping -c 1 -W 1 {BAD_ADDRESS} || true")  # nobody answers
    wait_for(lambda: any(f" {BAD_ADDRESS} " in line for line in host.events(password)), 30)


def test_status_hears_the_server_and_its_redis(host: Machine) -> None:
    found = json.loads(host.run("d4-server", "status", "--json"))
    assert found["problems"] == []
    assert found["server"]["sensors"] == 1, "that of this host"
    assert [queue["name"] for queue in found["redis"]["queues"]] == ["maltrail"]
    assert found["redis"]["disk"]["directory"] == "/var/lib/redis"
    socket = host.run("stat", "--format", "%a %G", "/run/d4-server/metrics.sock")
    assert socket.split() == ["660", "_d4-server"]


def test_the_page_for_administrators_asks_who_it_is(host: Machine) -> None:
    page = ("curl", "-sSf", "--cacert", "/etc/d4/ca.pem", "https://localhost:7000/login")
    wait_for(lambda: 'name="password"' in host.run(*page))
    journal = host.run("journalctl", "--output", "cat", "--unit", "d4-server-web")
    assert "the first password of the administration's page, for user admin" in journal


def test_every_unit_file_is_right(host: Machine) -> None:
    files = host.run("dpkg", "--listfiles", *PACKAGES).splitlines()
    units = [match[1] for file in files if (match := re.fullmatch(r".*/systemd/system/([^/]+)", file))]
    assert len(units) > len(SERVICES)
    host.run("systemd-analyze", "verify", *(unit.replace("@.", "@maltrail.") for unit in units))


@pytest.mark.parametrize("unit", EXPOSURE)
def test_a_service_is_exposed_no_more_than_it_must_be(
    host: Machine, unit: str, capsys: pytest.CaptureFixture[str]
) -> None:
    report = host.run("systemd-analyze", "security", "--no-pager", unit)
    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", report)
    assert exposure
    with capsys.disabled():
        print(f" exposure {exposure[1]}", end=" ")
    assert float(exposure[1]) <= EXPOSURE[unit], report


def test_a_reload_leaves_the_services_running(host: Machine) -> None:
    for unit in RELOADABLE:
        before = host.run("systemctl", "show", "--value", "--property", "MainPID", unit)
        host.run("systemctl", "reload", unit)
        assert host.run("systemctl", "show", "--value", "--property", "MainPID", unit) == before


def test_the_configuration_says_where_the_sockets_listen(host: Machine) -> None:
    drop_ins = {
        "/etc/d4/server.conf.d/50-ports.conf": "[d4]\ntls_port = 5443\n[web]\nhttps_port = 9700\n",
        "/etc/d4/collector.conf.d/50-ports.conf": "[udp]\nudp_port = 9337\n[web]\nhttp_port = 9338\n",
    }

    def listen_anew() -> set[str]:
        host.run("systemctl", "daemon-reload")
        host.run("systemctl", "restart", *SOCKETS)
        return set(re.findall(r":([0-9]+) ", host.run("ss", "-Hlntu")))

    for path, text in drop_ins.items():
        host.write(path, text)
    ports = listen_anew()
    assert ports >= {"5443", "9700", "9337", "9338"}
    assert not ports & {"4443", "7000", "8337", "8338"}
    host.run("rm", *drop_ins)
    assert listen_anew() >= {"4443", "7000", "8337", "8338"}


def test_an_upgrade_keeps_the_sockets_open(host: Machine) -> None:
    def opened() -> list[str]:
        show = ("systemctl", "show", "--value", "--property", "ActiveEnterTimestampMonotonic")
        return [host.run(*show, unit) for unit in SOCKETS]

    before = opened()
    host.install("--reinstall ./*.deb")
    assert opened() == before
    wait_for(lambda: {host.units().get(unit) for unit in SERVICES} == {"active"}, 30)


def test_purge_leaves_nothing(host: Machine) -> None:
    host.run("apt-get", "purge", "--yes", *PACKAGES)
    assert host.run("sh", "-c", f"ls -d {' '.join(TRACES)} 2> /dev/null || true") == ""
    listing = ("systemctl", "list-units", "--plain", "--no-legend")
    assert host.run(*listing, "d4-*", "maltrail-*", "redis-server@d4*") == ""


def give_route(host: Machine) -> None:
    """A default route, to a neighbour that swallows everything."""
    host.run("ip", "link", "add", "out0", "type", "veth", "peer", "name", "sink0")
    host.run("ip", "link", "set", "sink0", "up")
    host.run("ip", "address", "add", "192.0.2.1/24", "dev", "out0")
    host.run("ip", "link", "set", "out0", "up")
    host.run("ip", "neighbour", "add", "192.0.2.2", "lladdr", "02:d4:00:00:00:02", "dev", "out0")
    host.run("ip", "route", "add", "default", "via", "192.0.2.2")


def first_password(host: Machine) -> str:
    """The password that the collector made at its first start, which its journal tells."""
    journal = host.run("journalctl", "--output", "cat", "--unit", "maltrail-collector")
    password = re.search(r"first password of the web page, for user admin: (\S+)", journal)
    assert password, journal
    return password[1]
