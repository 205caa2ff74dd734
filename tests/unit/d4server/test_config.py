"""server.conf, as it may be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from d4common import config
from d4common.config import Endpoint
from d4common.session import Rules
from d4server.config import ServerConfig


def load(tmp_path: Path, text: str) -> ServerConfig:
    """The configuration in a file that holds ``text``."""
    path = tmp_path / "server.conf"
    path.write_text(text)
    return config.load(ServerConfig, [path]).value


def test_says_where_to_listen_and_what_to_accept(tmp_path: Path) -> None:
    d4 = load(
        tmp_path,
        "[d4]\nlisten = 192.0.2.1\ntls_port = 4444\ntypes = 2, 3 254\nmeta_types = maltrail,own\n",
    ).d4
    assert d4.endpoint == Endpoint("192.0.2.1", 4444)
    assert d4.rules() == Rules(frozenset({2, 3, 254}), frozenset({"maltrail", "own"}))


def test_what_is_wrong_is_said_all_at_once(tmp_path: Path) -> None:
    with pytest.raises(config.ConfigError) as error:
        load(
            tmp_path,
            "[d4]\nlisten = everywhere\ntls_port = 0\ncertificate = server.pem\ntypes = 255\n"
            "[redis]\nurl = nonsense\nhost = x\n",
        )
    assert len(error.value.problems) == 6
    assert all(problem.startswith(f"{tmp_path}/server.conf:") for problem in error.value.problems)


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "/run/redis.sock",
        "http://localhost",
        "redis://h:0",
        "redis://h:99999",
        "unix://",
        "redis://h:x",
    ],
)
def test_a_redis_that_cannot_be_is_a_problem_of_the_configuration(tmp_path: Path, url: str) -> None:
    with pytest.raises(config.ConfigError, match="url"):
        load(tmp_path, f"[redis]\nurl = {url}\n")


@pytest.mark.parametrize(
    "url", ["unix:///run/redis.sock", "redis://localhost", "redis://[::1]:6379/2", "rediss://user:pw@h:1/0"]
)
def test_a_redis_that_can_be_is_taken(tmp_path: Path, url: str) -> None:
    assert load(tmp_path, f"[redis]\nurl = {url}\n").redis.url == url


def test_the_key_is_where_systemd_put_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    d4 = load(tmp_path, f"[d4]\nkey = {tmp_path}/own.key\n").d4
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert d4.key_file() == tmp_path / "own.key"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert d4.key_file() == tmp_path / "own.key", "a service without that credential"
    (tmp_path / "server.key").touch()
    assert d4.key_file() == tmp_path / "server.key"
