"""A d4-server that wants certificates of sensors: who may send, and how sensors come by one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from serving import KEY, Server, closed, packet
from waiting import wait_for

from d4common import config
from d4sensor import certificate
from d4sensor.config import SensorConfig
from d4server import certificates, client_certificates
from demo.chain import PYTHON, TREE, environment
from demo.make_sample import SAMPLE


@pytest.fixture
def server(tmp_path: Path, redis_socket: Path) -> Iterator[Server]:
    """A running d4-server that wants them; its log has no traceback."""
    server = Server(tmp_path, redis_socket)
    client_certificates.ensure(tmp_path)
    with server.config.open("a") as file:
        file.write(f"client_certificates = yes\nca = {server.ca}\n")
        file.write(f"client_ca = {tmp_path}/tls/clients.pem\nclient_ca_key = {tmp_path}/tls/clients.key\n")
    server.daemon.start()
    yield server
    server.daemon.stop()
    server.redis.close()
    assert "Traceback" not in server.log()


Own = tuple[Path, Path]
"""Files with a certificate and its key."""


def certificate_of(sensor: UUID, server: Path) -> Own:
    """A certificate of the server in this directory for a sensor."""
    tls = server / "tls"
    own = server / f"{sensor}.pem", server / f"{sensor}.key"
    key = client_certificates.public_key(certificate.request(sensor, own[1]))
    own[0].write_text(client_certificates.sign(sensor, key, tls / "clients.pem", tls / "clients.key"))
    return own


def is_refused(server: Server, sensor: UUID, own: Own | None) -> bool:
    """Whether a sensor that sends with this certificate is turned away."""
    try:
        with server.connect(own) as connection:
            connection.sendall(packet(sensor, 3, b"x\n"))
            return closed(connection)
    except OSError:
        return True  # within the handshake


def test_a_sensor_with_its_own_certificate_may_send(server: Server, tmp_path: Path) -> None:
    sensor = server.sensor()
    with server.connect(certificate_of(sensor, tmp_path)) as connection:
        connection.sendall(packet(sensor, 3, b"x\n"))
        wait_for(lambda: server.lines(sensor, "3") == [b"x"])


def test_a_certificate_does_not_replace_the_key(server: Server, tmp_path: Path) -> None:
    sensor = server.sensor()
    with server.connect(certificate_of(sensor, tmp_path)) as connection:
        connection.sendall(packet(sensor, 3, b"x\n", KEY + b"?"))
        assert closed(connection)


def test_a_sensor_without_or_with_that_of_another_is_refused(server: Server, tmp_path: Path) -> None:
    sensor, other = server.sensor(), server.sensor()
    assert is_refused(server, sensor, None)
    assert is_refused(server, sensor, certificate_of(other, tmp_path))
    wait_for(lambda: f"refused sensor {sensor}" in server.log())
    assert "no certificate of this sensor" in server.log() and "--certificate" in server.log()
    assert server.lines(sensor, "3") == []


def test_one_that_has_expired_or_is_of_another_ca_is_refused(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sensor = server.sensor()
    monkeypatch.setattr(client_certificates, "LIFE", timedelta(minutes=-1))
    assert is_refused(server, sensor, certificate_of(sensor, tmp_path))
    said = "refused sensor unknown at 127.0.0.1: its certificate: certificate has expired; `d4-sensor renew"
    wait_for(lambda: said in server.log())
    monkeypatch.undo()
    other = tmp_path / "other"
    certificates.ensure(other, [])
    client_certificates.ensure(other)
    assert is_refused(server, sensor, certificate_of(sensor, other))
    assert server.log().count("refused") == 1, "once a minute of an address"
    assert server.lines(sensor, "3") == []


def test_the_servers_own_ca_makes_no_sensor(server: Server, tmp_path: Path) -> None:
    """Two CAs: neither can stand for the other."""
    assert is_refused(server, server.sensor(), (tmp_path / "tls/server.pem", tmp_path / "tls/server.key"))


def test_a_sensor_enrols_and_sends_with_what_it_was_given(server: Server, tmp_path: Path) -> None:
    """And goes on with both keys when it has renewed."""
    conf = tmp_path / "sensor" / "sensor.conf"
    conf.parent.mkdir()
    conf.write_text(f"[capture]\nname = x\n[spool]\npath = {conf.parent}\n")
    token = server.command("sensors", "token").strip()
    base = [PYTHON, "-m", "d4sensor", "--config", str(conf)]
    enroll = ["enroll", f"127.0.0.1:{server.port}", "--ca", str(server.ca), "--token", token, "--certificate"]
    subprocess.run([*base, *enroll], env=environment(), check=True, timeout=60, stdout=subprocess.PIPE)
    d4 = config.load(SensorConfig, config.files_of(conf)).value.d4
    assert d4.uuid is not None and d4.key is not None
    uuid, own = d4.uuid, d4.own_certificate()
    replay = ["replay", str(SAMPLE), "--trails", str(TREE / "demo" / "trails"), "--send"]
    subprocess.run([*base, *replay], env=environment(), check=True, timeout=60)
    assert server.lines(uuid), "the sensor shows its certificate"
    subprocess.run([*base, "renew"], env=environment(), check=True, timeout=60, stdout=subprocess.PIPE)
    renewed = config.load(SensorConfig, config.files_of(conf)).value.d4.key
    assert renewed is not None
    for number, key in enumerate((d4.key, renewed), 1):
        with server.connect(own) as connection:
            connection.sendall(packet(uuid, 3, b"x\n", key.encode()))
            wait_for(lambda count=number: len(server.lines(uuid, "3")) == count)
