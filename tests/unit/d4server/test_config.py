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


def test_a_meta_type_is_lines_unless_it_is_said_to_be_chunks(tmp_path: Path) -> None:
    assert load(tmp_path, "").d4.rules().chunks == {"1", "4", "5", "7"}
    d4 = load(tmp_path, "[d4]\nmeta_types = maltrail own other\nchunk_types = own other\n").d4
    assert d4.rules().chunks == {"1", "4", "5", "7", "own", "other"}
    with pytest.raises(config.ConfigError, match="chunk_types has own, which is not one of meta_types"):
        load(tmp_path, "[d4]\nchunk_types = maltrail own\n")


def test_what_is_wrong_is_said_all_at_once(tmp_path: Path) -> None:
    with pytest.raises(config.ConfigError) as error:
        load(
            tmp_path,
            "[d4]\nlisten = everywhere\ntls_port = 0\ncertificate = server.pem\ntypes = 255\n"
            "[redis]\nurl = nonsense\nhost = x\n",
        )
    assert len(error.value.problems) == 6
    assert all(problem.startswith(f"{tmp_path}/server.conf:") for problem in error.value.problems)


def test_the_key_is_where_systemd_put_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    d4 = load(tmp_path, f"[d4]\nkey = {tmp_path}/own.key\n").d4
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert d4.key_file() == tmp_path / "own.key"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert d4.key_file() == tmp_path / "own.key", "a service without that credential"
    (tmp_path / "server.key").touch()
    assert d4.key_file() == tmp_path / "server.key"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("registration = shared-secret", "registration = shared-secret needs a shared_secret"),
        ("shared_secret = too short", "[d4] shared_secret: must have at least 16 characters"),
        ("registration = open", "must be approved or shared-secret"),
    ],
)
def test_a_shared_secret_is_set_by_somebody_and_long(tmp_path: Path, text: str, wrong: str) -> None:
    path = tmp_path / "server.conf"
    path.write_text(f"[d4]\n{text}\n")
    with pytest.raises(config.ConfigError) as error:
        config.load(ServerConfig, [path])
    assert wrong in str(error.value)
    assert "too short" not in str(error.value), "it is a secret"


def test_a_shared_secret_counts_where_sensors_may_register_by_it(tmp_path: Path) -> None:
    path, secret = tmp_path / "server.conf", "a secret that is long"
    path.write_text(f"[d4]\nshared_secret = {secret}\n")
    loaded = config.load(ServerConfig, [path])
    assert loaded.value.d4.secret() is None
    assert secret not in config.show(loaded)
    path.write_text(f"[d4]\nshared_secret = {secret}\nregistration = shared-secret\n")
    assert config.load(ServerConfig, [path]).value.d4.secret() == secret.encode()


def test_who_is_told_of_silent_sensors(tmp_path: Path) -> None:
    found = load(tmp_path, "[monitoring]\nwebhook = https://h.example/x?y\nmail_to = ops@example.org, root\n")
    assert found.monitoring.webhook == "https://h.example/x?y"
    assert found.monitoring.mail_to == ("ops@example.org", "root")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("webhook = http://h.example/", "must be https://HOST/PATH"),
        ("webhook = https:///x", "must be https://HOST/PATH"),
        ("webhook = https://h.example/ x", "must be https://HOST/PATH"),
        ("webhook = https://[h", "must be https://HOST/PATH"),
        ("mail_to = -Cfile", "must be mail addresses such as ops@example.org, which -Cfile is not"),
        ("mail_to = a@b@c", "which a@b@c is not"),
    ],
)
def test_what_is_no_webhook_and_no_mail_address_is_refused(tmp_path: Path, text: str, wrong: str) -> None:
    with pytest.raises(config.ConfigError, match=wrong):
        load(tmp_path, f"[monitoring]\n{text}\n")


@pytest.mark.parametrize("limit", ["one_connection = yes", "replay_window = 1min"])
def test_what_one_process_must_know_needs_one_worker(tmp_path: Path, limit: str) -> None:
    assert load(tmp_path, f"[d4]\nworkers = 1\n[limits]\n{limit}\n").d4.workers == 1
    with pytest.raises(config.ConfigError) as error:
        load(tmp_path, f"[limits]\n{limit}\n[d4]\nworkers = 2\n")
    name = limit.split()[0]
    assert error.value.problems == [
        f"{tmp_path}/server.conf:2: [limits] {name} needs [d4] workers = 1, "
        "since no worker knows what came to another"
    ]
