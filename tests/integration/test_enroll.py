"""`d4-sensor enroll` and `d4-sensor renew`, as an administrator uses them."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from conftest import Certificates
from cryptography import x509
from enrolling import Enrolling, serving

from d4common import config
from d4common.sender import Identity
from d4sensor import certificate, identity
from d4sensor.config import D4, SensorConfig
from d4server import admission, certificates, client_certificates, enrolment, sensors
from demo.chain import PYTHON, environment


@dataclass
class Result:
    """What became of a command."""

    status: int
    out: str
    err: str


class Host:
    """A host with a sensor that nobody has configured yet."""

    def __init__(self, directory: Path, server: Enrolling) -> None:
        self.server = server
        self.directory = directory
        self.config = directory / "sensor.conf"
        self.drop_ins = directory / "sensor.conf.d"
        self.address = f"127.0.0.1:{server.port}"
        shown = x509.load_pem_x509_certificate((server.directory / "tls" / "server.pem").read_bytes())
        self.fingerprint = certificates.fingerprint(shown)
        directory.mkdir()
        self.config.write_text("[capture]\nname = the lobby\n")

    async def start(
        self, *arguments: str, stdin: int = asyncio.subprocess.DEVNULL
    ) -> asyncio.subprocess.Process:
        """Starts a d4-sensor command."""
        return await asyncio.create_subprocess_exec(
            *(PYTHON, "-m", "d4sensor", "--config", str(self.config), *arguments),
            env=environment(),
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, *arguments: str) -> Result:
        """Runs a d4-sensor command to its end."""
        process = await self.start(*arguments)
        out, err = await asyncio.wait_for(process.communicate(), 30)
        assert b"Traceback" not in err, err.decode()
        assert process.returncode is not None
        return Result(process.returncode, out.decode(), err.decode())

    async def enroll(self, *arguments: str) -> Result:
        """Enrols, with the server's right fingerprint."""
        return await self.run("enroll", self.address, "--fingerprint", self.fingerprint, *arguments)

    def settings(self) -> D4:
        """What is configured now."""
        return config.load(SensorConfig, config.files_of(self.config)).value.d4

    async def is_in(self) -> bool:
        """Whether the server knows the sensor by the key that it has."""
        d4 = self.settings()
        assert d4.uuid is not None and d4.key is not None
        return d4.key.encode() in await sensors.keys_of(self.server.redis, d4.uuid)


Run = Callable[[Callable[[Host], Awaitable[None]]], None]


@pytest.fixture
def run(tmp_path: Path, redis_socket: Path) -> Run:
    """Runs a test with a host and a server of its own."""

    def run(test: Callable[[Host], Awaitable[None]]) -> None:
        async def with_server() -> None:
            (tmp_path / "server").mkdir()
            async with serving(tmp_path / "server", redis_socket) as server:
                await test(Host(tmp_path / "sensor", server))

        asyncio.run(asyncio.wait_for(with_server(), 120))

    return run


def test_a_token_is_all_that_it_takes(run: Run) -> None:
    async def test(host: Host) -> None:
        result = await host.enroll("--token", await host.server.token())
        assert result.status == 0 and "systemctl restart d4-sensor" in result.out and not result.err
        d4 = host.settings()
        assert await host.is_in()
        assert [str(each) for each in d4.destination] == [host.address]
        assert d4.ca == host.directory / "ca.pem" and d4.verify
        assert d4.ca.read_text() == (host.server.directory / "ca.pem").read_text()
        assert stat.S_IMODE((host.drop_ins / "10-identity.conf").stat().st_mode) == 0o600
        assert {path.name for path in host.drop_ins.iterdir()} == {"10-identity.conf", "20-server.conf"}
        (sensor,) = await sensors.known(host.server.redis)
        assert (sensor.uuid, sensor.name) == (d4.uuid, "the lobby")

    run(test)


def test_a_sensor_that_has_an_identity_keeps_its_uuid(run: Run, tmp_path: Path) -> None:
    async def test(host: Host) -> None:
        identity.make(host.drop_ins / "10-identity.conf")
        before = host.settings()
        (tmp_path / "token").write_text(f" {await host.server.token()}\n")
        result = await host.enroll("--token-file", str(tmp_path / "token"), "--name", "x")
        assert result.status == 0
        assert host.settings().uuid == before.uuid and host.settings().key != before.key
        assert await host.is_in()

    run(test)


def test_an_administrator_approves_while_it_waits(run: Run) -> None:
    async def test(host: Host) -> None:
        process = await host.start(
            "enroll", host.address, "--fingerprint", host.fingerprint.lower().replace(":", "")
        )
        assert process.stdout is not None
        said = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
        (sensor,) = await sensors.known(host.server.redis)
        assert f"code {sensor.code}" in said and f"sensors approve {sensor.uuid}" in said
        await admission.approve(host.server.redis, sensor.uuid)
        assert await asyncio.wait_for(process.wait(), 30) == 0
        assert await host.is_in()

    run(test)


def test_it_waits_on_where_the_server_has_closed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enrolment, "PENDING_TIME", 0.1)
    monkeypatch.setattr(enrolment, "LOOK_INTERVAL", 0.1)

    async def test(host: Host) -> None:
        process = await host.start("enroll", host.address, "--fingerprint", host.fingerprint)
        assert process.stdout is not None
        await asyncio.wait_for(process.stdout.readline(), 30)
        (sensor,) = await sensors.known(host.server.redis)
        await asyncio.sleep(0.5)  # the connection is gone by now
        await admission.approve(host.server.redis, sensor.uuid)
        assert await asyncio.wait_for(process.wait(), 30) == 0
        assert await host.is_in()

    run(test)


def test_one_that_does_not_wait_asks_again_later(run: Run) -> None:
    async def test(host: Host) -> None:
        result = await host.enroll("--no-wait")
        assert result.status == 75 and "code " in result.err
        (sensor,) = await sensors.known(host.server.redis)
        await admission.approve(host.server.redis, sensor.uuid)
        assert (await host.enroll("--no-wait")).status == 0
        assert await host.is_in()

    run(test)


@pytest.mark.parametrize("dies", ["ca.pem", "20-server.conf", "10-identity.conf", "done"])
def test_whatever_dies_in_between_asking_again_is_all_it_takes(run: Run, dies: str, tmp_path: Path) -> None:
    """Killed when a certain file is about to be replaced, or when it is about to say that it is done."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, pathlib, socket, asyncio\n"
        "replace = pathlib.Path.replace\n"
        "def replace_or_die(self, target):\n"
        f"    if target.name == {dies!r}: os._exit(9)\n"
        "    return replace(self, target)\n"
        "pathlib.Path.replace = replace_or_die\n"
        f"if {dies == 'done'}:\n"
        "    import d4common.enrolling as enrolling\n"
        "    encode = enrolling.encode\n"
        "    def encode_or_die(message):\n"
        "        if isinstance(message, enrolling.Done): os._exit(9)\n"
        "        return encode(message)\n"
        "    enrolling.encode = encode_or_die\n"
    )

    async def test(host: Host) -> None:
        token = await host.server.token()
        process = await asyncio.create_subprocess_exec(
            *(PYTHON, "-m", "d4sensor", "--config", str(host.config), "enroll", host.address),
            *("--fingerprint", host.fingerprint, "--token", token),
            env={**environment(), "PYTHONPATH": f"{tmp_path}{os.pathsep}{environment()['PYTHONPATH']}"},
        )
        assert await asyncio.wait_for(process.wait(), 30) == 9
        assert (await host.enroll("--token", token)).status == 0
        assert await host.is_in()

    run(test)


def test_another_certificate_than_expected_gets_nothing(run: Run, certificates: Certificates) -> None:
    async def test(host: Host) -> None:
        token = await host.server.token()
        for known in (("--fingerprint", "ab" * 32), ("--ca", str(certificates.other_ca))):
            result = await host.run("enroll", host.address, *known, "--token", token)
            assert result.status == 1 and result.err.count("\n") == 1
            assert ("d4-server certificate" in result.err) or ("not trusted" in result.err)
        assert await host.server.redis.keys("*") == await host.server.redis.keys("d4:{sensors}:token*")
        ca = ("--ca", str(host.server.directory / "ca.pem"))
        assert (await host.run("enroll", host.address, *ca, "--token", token)).status == 0

    run(test)


def test_nobody_is_trusted_unseen(run: Run) -> None:
    async def test(host: Host) -> None:
        result = await host.run("enroll", host.address)
        assert result.status == 1 and "--fingerprint" in result.err and "--ca" in result.err
        assert not host.drop_ins.exists(), "nothing was made"

    run(test)


@pytest.mark.parametrize("reply", ["yes", "no"])
def test_on_a_terminal_the_fingerprint_is_shown_and_asked_about(run: Run, reply: str) -> None:
    async def test(host: Host) -> None:
        ours, theirs = os.openpty()
        token = await host.server.token()
        process = await host.start("enroll", host.address, "--token", token, stdin=theirs)
        os.write(ours, f"{reply}\n".encode())
        out, err = await asyncio.wait_for(process.communicate(), 30)
        os.close(ours)
        os.close(theirs)
        assert host.fingerprint in out.decode()
        assert process.returncode == (0 if reply == "yes" else 1)
        assert bool(await host.server.redis.keys("d4:{sensors}:token:*")) == (reply == "no"), "asked, or not"

    run(test)


def test_a_server_by_a_name_that_it_has_not_is_told_before_anything_is_written(run: Run) -> None:
    async def test(host: Host) -> None:
        token = await host.server.token()
        elsewhere = f"127.0.0.2:{host.server.port}"
        server = await asyncio.start_server(forward(host.server.port), "127.0.0.2", host.server.port)
        known = ("--fingerprint", host.fingerprint)
        result = await host.run("enroll", elsewhere, *known, "--token", token)
        server.close()
        assert result.status == 1 and "d4-server certificate --name 127.0.0.2" in result.err
        assert not (host.directory / "ca.pem").exists()
        assert (await host.enroll("--token", token)).status == 0, "the answer is the same"

    run(test)


def forward(port: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """Hands connections on to a port on 127.0.0.1."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(copy(reader, back), copy(there, writer), return_exceptions=True)

    return serve


def test_a_configuration_may_be_named_from_its_own_directory(run: Run) -> None:
    async def test(host: Host) -> None:
        known = ("--fingerprint", host.fingerprint, "--token", await host.server.token())
        command = (PYTHON, "-m", "d4sensor", "--config", "sensor.conf", "enroll", host.address, *known)
        process = await asyncio.create_subprocess_exec(*command, env=environment(), cwd=host.directory)
        assert await asyncio.wait_for(process.wait(), 30) == 0
        assert await host.is_in()

    run(test)


def test_what_wins_over_the_answer_is_named(run: Run) -> None:
    async def test(host: Host) -> None:
        host.drop_ins.mkdir()
        (host.drop_ins / "50-site.conf").write_text("[d4]\ndestination = old.example.org\n")
        result = await host.enroll("--token", await host.server.token())
        assert result.status == 0 and f"{host.drop_ins}/50-site.conf:2 sets destination" in result.err

    run(test)


def test_the_ca_of_a_server_on_this_host_is_not_overwritten(run: Run) -> None:
    async def test(host: Host) -> None:
        certificates.ensure(host.directory, [])
        before = (host.directory / "ca.pem").read_bytes()
        result = await host.enroll("--token", await host.server.token())
        assert result.status == 1 and f"{host.directory}/ca.pem" in result.err
        assert (host.directory / "ca.pem").read_bytes() == before

    run(test)


def test_what_cannot_be_is_said_in_a_line(run: Run, tmp_path: Path) -> None:
    async def test(host: Host) -> None:
        known = ("--fingerprint", host.fingerprint)
        for arguments, complaint in (
            (("enroll", "127.0.0.1:1", *known), "no answer from 127.0.0.1:1: Connection refused"),
            (("enroll", host.address, *known, "--token", "wrong"), "sensors token"),
            (("enroll", host.address, *known, "--name", "a\tb"), "--name gives it another"),
            (("enroll", host.address, "--ca", str(tmp_path / "none")), "none cannot be read"),
            (("enroll", host.address, *known, "--token-file", str(tmp_path / "none")), "none: No such file"),
            (("renew",), "d4-sensor enroll"),
        ):
            (host.drop_ins / "10-identity.conf").unlink(missing_ok=True)
            result = await host.run(*arguments)
            assert result.status == 1 and result.err.count("\n") == 1, result.err
            assert complaint in result.err

    run(test)


def test_a_key_is_renewed_and_both_are_valid(run: Run) -> None:
    async def test(host: Host) -> None:
        await host.enroll("--token", await host.server.token())
        before = host.settings()
        result = await host.run("renew")
        assert result.status == 0, result.err
        after = host.settings()
        assert after.uuid == before.uuid and after.key != before.key
        assert before.uuid is not None and after.key is not None and before.key is not None
        keys = await sensors.keys_of(host.server.redis, before.uuid)
        assert keys == (after.key.encode(), before.key.encode())
        record = sensors.record_of(before.uuid)
        assert not await host.server.redis.hexists(record, "renewing"), "it said done"
        assert stat.S_IMODE((host.drop_ins / "10-identity.conf").stat().st_mode) == 0o600

    run(test)


def test_the_second_server_renews_where_the_first_is_away(run: Run) -> None:
    async def test(host: Host) -> None:
        await host.enroll("--token", await host.server.token())
        (host.drop_ins / "50-site.conf").write_text(f"[d4]\ndestination = 127.0.0.1:1 {host.address}\n")
        assert (await host.run("renew")).status == 0
        assert await host.is_in()

    run(test)


def test_a_key_that_stands_elsewhere_is_not_renewed(run: Run) -> None:
    async def test(host: Host) -> None:
        host.drop_ins.mkdir()
        written = host.drop_ins / "50-site.conf"
        written.write_text(
            f"[d4]\nuuid = {(uuid := uuid4())}\nkey = a key\nca = {host.server.directory}/ca.pem\n"
        )
        await sensors.add(host.server.redis, Identity(uuid, b"a key"))
        result = await host.run("renew")
        assert result.status == 1 and f"{written}:3 sets key" in result.err
        assert await sensors.keys_of(host.server.redis, uuid) == (b"a key",)

    run(test)


def test_a_server_that_is_not_verified_renews_nothing(run: Run) -> None:
    async def test(host: Host) -> None:
        await host.enroll("--token", await host.server.token())
        before = host.settings().key
        (host.drop_ins / "50-site.conf").write_text("[d4]\nverify = no\n")
        result = await host.run("renew")
        assert result.status == 1 and "verify = no" in result.err
        assert host.settings().key == before

    run(test)


def test_a_revoked_sensor_is_refused(run: Run) -> None:
    async def test(host: Host) -> None:
        await host.enroll("--token", await host.server.token())
        uuid = host.settings().uuid
        assert uuid is not None and await sensors.revoke(host.server.redis, uuid)
        for result in (await host.run("renew"), await host.enroll()):
            assert result.status == 1 and "refuses" in result.err and str(uuid) in result.err

    run(test)


def subject(path: Path) -> str:
    return x509.load_pem_x509_certificate(path.read_bytes()).subject.rfc4514_string()


def test_a_sensor_that_is_known_gets_its_first_certificate_later(run: Run) -> None:
    async def test(host: Host) -> None:
        await host.enroll("--token", await host.server.token())
        assert host.settings().own_certificate() is None
        result = await host.run("renew", "--certificate")
        assert result.status == 0 and not result.err
        assert host.settings().own_certificate() == (
            host.directory / "sensor.pem",
            host.directory / "sensor.key",
        )
        assert subject(host.directory / "sensor.pem") == f"CN={host.settings().uuid}"
        assert await host.is_in()
        (host.server.directory / "tls" / "clients.key").unlink()
        result = await host.run("renew", "--certificate")
        assert result.status == 0 and "no certificates" in result.err

    run(test)


def test_a_certificate_comes_with_the_key_and_is_renewed_when_it_is_due(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(host: Host) -> None:
        assert (await host.run("renew", "--due")).status == 1, "there is none"
        result = await host.enroll("--token", await host.server.token(), "--certificate")
        assert result.status == 0 and not result.err
        d4 = host.settings()
        assert d4.own_certificate() == (host.directory / "sensor.pem", host.directory / "sensor.key")
        assert subject(host.directory / "sensor.pem") == f"CN={d4.uuid}"
        assert (await host.run("renew", "--due")).status == 1
        first = (host.directory / "sensor.pem").read_bytes()
        assert (await host.run("renew")).status == 0
        assert (host.directory / "sensor.pem").read_bytes() == first, "only the key"
        monkeypatch.setattr(client_certificates, "LIFE", timedelta(days=29))
        assert d4.uuid is not None
        key = client_certificates.public_key(certificate.request(d4.uuid, host.directory / "sensor.key"))
        tls = host.server.directory / "tls"
        ending = client_certificates.sign(d4.uuid, key, tls / "clients.pem", tls / "clients.key")
        (host.directory / "sensor.pem").write_text(ending)
        monkeypatch.undo()
        assert (await host.run("renew", "--due")).status == 0
        assert (await host.run("renew")).status == 0
        assert (host.directory / "sensor.pem").read_text() != ending
        assert (await host.run("renew", "--due")).status == 1
        assert await host.is_in()

    run(test)


def test_one_that_is_stopped_while_it_waits_goes_on_later(run: Run) -> None:
    async def test(host: Host) -> None:
        process = await host.start("enroll", host.address, "--fingerprint", host.fingerprint)
        assert process.stdout is not None
        await asyncio.wait_for(process.stdout.readline(), 30)
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 1 and err.count(b"\n") == 1 and b"goes on where it was" in err
        (sensor,) = await sensors.known(host.server.redis)
        await admission.approve(host.server.redis, sensor.uuid)
        assert (await host.enroll()).status == 0
        assert await host.is_in()

    run(test)
