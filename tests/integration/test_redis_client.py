"""Clients of a real Redis over TCP: passwords, and TLS that is verified."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from clustering import Node, free_port
from conftest import Certificates
from redis.exceptions import RedisError
from waiting import wait_for

from d4common import redis_client
from demo.chain import Daemon


def ask(url: str, password: str | None = None) -> bytes:
    """What the Redis at ``url`` answers."""

    async def connected() -> bytes:
        redis = redis_client.connect(url, password)
        try:
            await redis.set("question", "answer")
            return bytes(await redis.get("question"))
        finally:
            await redis_client.close(redis)

    return asyncio.run(asyncio.wait_for(connected(), 10))


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A Redis whose default user and whose user d4 have passwords."""
    acl = ("--requirepass", "pass%word", "--user", "d4", "on", ">sesame", "~*", "+@all")
    made = Node(tmp_path / "redis", *acl)
    made.daemon.start()
    yield made
    made.client.close()
    made.daemon.stop()


def test_password_is_in_the_url_or_beside_it(node: Node) -> None:
    assert ask(f"redis://:pass%25word@127.0.0.1:{node.port}") == b"answer"
    assert ask(f"redis://127.0.0.1:{node.port}", "pass%word") == b"answer"
    assert ask(f"redis://d4:sesame@127.0.0.1:{node.port}/1") == b"answer"
    assert ask(f"redis://d4@127.0.0.1:{node.port}/1", "sesame") == b"answer"


@pytest.mark.parametrize("password", [None, "wrong"])
def test_wrong_password_is_an_error_that_does_not_hold_it(node: Node, password: str | None) -> None:
    with pytest.raises(RedisError) as error:
        ask(f"redis://d4@127.0.0.1:{node.port}", password)
    assert "wrong" not in redis_client.explain(error.value)


def tls(port: int, certificates: Certificates) -> list[str]:
    """Options of a Redis, or a Sentinel, that speaks TLS with all at this port."""
    files = {"cert": certificates.certificate, "key": certificates.key, "ca-cert": certificates.ca}
    options = [word for name, path in files.items() for word in (f"--tls-{name}-file", str(path))]
    return [*options, "--tls-port", str(port), "--tls-auth-clients", "no", "--tls-replication", "yes"]


@pytest.fixture
def encrypted(tmp_path: Path, certificates: Certificates) -> Iterator[int]:
    """The port of a Redis with TLS."""
    port = free_port()
    made = Node(tmp_path / "redis", *tls(port, certificates))
    made.daemon.start()
    yield port
    made.client.close()
    made.daemon.stop()


def test_certificate_is_verified_with_the_system_s_authorities(
    encrypted: int, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca))
    assert ask(f"rediss://127.0.0.1:{encrypted}") == b"answer"
    assert ask(f"rediss://localhost:{encrypted}/2") == b"answer"
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.other_ca))
    assert "self-signed certificate" in refusal(f"rediss://127.0.0.1:{encrypted}")


def test_certificate_must_be_of_the_host_that_the_url_names(
    encrypted: int, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca))
    assert "IP address mismatch" in refusal(f"rediss://127.0.0.2:{encrypted}")


def refusal(url: str) -> str:
    """Why a certificate is not accepted, as a daemon would log it."""
    with pytest.raises(RedisError) as error:
        ask(url)
    return redis_client.explain(error.value)


def test_sentinels_and_the_master_that_they_name_speak_tls(
    encrypted: int, tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, conf = free_port(), tmp_path / "sentinel.conf"
    conf.write_text(f"port 0\nsentinel monitor events 127.0.0.1 {encrypted} 1\n")
    options = ["--sentinel", "--dir", str(tmp_path), "--supervised", "systemd", *tls(port, certificates)]
    sentinel = Daemon("sentinel", ["redis-server", str(conf), *options], tmp_path)
    sentinel.start()
    try:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca))
        wait_for(lambda: answers(f"rediss+sentinel://127.0.0.1:{port}/events"))
        assert not answers(f"redis+sentinel://127.0.0.1:{port}/events")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.other_ca))
        assert not answers(f"rediss+sentinel://127.0.0.1:{port}/events")
    finally:
        sentinel.stop()


def test_nodes_of_a_cluster_speak_tls(
    tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    cluster = ("--cluster-enabled", "yes", "--tls-cluster", "yes", "--cluster-port", str(free_port()))
    node = Node(tmp_path / "redis", *cluster, *tls(port, certificates))
    node.daemon.start()
    try:
        node.client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca))
        wait_for(lambda: answers(f"rediss+cluster://127.0.0.1:{port}"))
        assert not answers(f"redis+cluster://127.0.0.1:{port}")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.other_ca))
        assert "self-signed certificate" in refusal(f"rediss+cluster://127.0.0.1:{port}")
    finally:
        node.client.close()
        node.daemon.stop()


def answers(url: str) -> bool:
    """Whether there is a Redis at ``url``."""
    try:
        return ask(url) == b"answer"
    except RedisError:
        return False
