"""Fixtures that several packages' tests share, and what is shown at the end of a run."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trustme
from administering import Administration, administering
from argon2 import PasswordHasher
from collecting import Collector
from faults import table
from hypothesis import settings
from redis import Redis
from serving import Server, own_redis
from waiting import wait_for

from d4common import passwords
from demo.chain import Daemon

# A machine that is busy with something else is not a failure, and a failure's example is in the output.
settings.register_profile("d4", deadline=None, database=None)
settings.load_profile("d4")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Adds the fault table."""
    table.show(terminalreporter)


@dataclass(frozen=True)
class Certificates:
    """PEM files: a CA, its certificate for 127.0.0.1 and localhost, the key of that, and another CA."""

    ca: Path
    certificate: Path
    key: Path
    other_ca: Path


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates of this test run."""
    directory = tmp_path_factory.mktemp("certificates")
    files = Certificates(*(directory / f"{name}.pem" for name in ("ca", "server", "server-key", "other-ca")))
    ca = trustme.CA()
    server = ca.issue_cert("127.0.0.1", "localhost")
    ca.cert_pem.write_to_path(files.ca)
    for blob in server.cert_chain_pems:
        blob.write_to_path(files.certificate, append=True)
    server.private_key_pem.write_to_path(files.key)
    trustme.CA().cert_pem.write_to_path(files.other_ca)
    return files


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Path]:
    """The Unix socket of a redis-server of this test run, which keeps an append-only file."""
    # Not under tmp_path: the path of a Unix socket has room for about a hundred bytes.
    with TemporaryDirectory(prefix="redis-") as name:
        path = Path(name) / "redis.sock"
        options = f"--port 0 --unixsocket {path} --dir {name} --appendonly yes --save".split()
        server = subprocess.Popen(["redis-server", *options, ""], stdout=subprocess.DEVNULL)
        try:
            wait_for(lambda: accepts(path))
            yield path
        finally:
            server.terminate()
            server.wait(10)


@pytest.fixture
def redis_socket(redis_server: Path) -> Path:
    """The Unix socket of a Redis that holds nothing."""
    with Redis(unix_socket_path=str(redis_server)) as client:
        client.flushall()
    return redis_server


@pytest.fixture(scope="module")
def cheap_hashes() -> Iterator[None]:
    """Passwords are hashed in no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        patch.setattr(passwords, "NOBODYS", passwords.hashed("nobody"))
        yield


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Daemon]:
    """A redis-server of the test's own."""
    daemon = own_redis(tmp_path)
    daemon.start()
    yield daemon
    daemon.stop()


@pytest.fixture
def sooner() -> dict[str, float]:
    """Constants that the server has otherwise where a test would have to wait (serving.command)."""
    return {}


@pytest.fixture
def server(tmp_path: Path, redis: Daemon, sooner: dict[str, float]) -> Iterator[Server]:
    """A running d4-server with it; whatever happens to it, its log has no traceback."""
    server = Server(tmp_path, tmp_path / "redis.sock", sooner)
    server.daemon.start()
    try:
        yield server
    finally:
        server.daemon.stop()
        server.redis.close()
    assert "Traceback" not in server.log()


@pytest.fixture
def administration(tmp_path: Path, server: Server) -> Iterator[Administration]:
    """The running page for administrators of that server."""
    with administering(server, tmp_path) as made:
        yield made


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    """A running maltrail-collector of this test's own."""
    made = Collector(tmp_path)
    made.daemon.start()
    try:
        yield made
    finally:
        made.daemon.stop()


def accepts(path: Path) -> bool:
    """Whether somebody listens at this Unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0
