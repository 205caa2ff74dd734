"""URLs of Redis, and where its password comes from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4common import config, redis_url
from d4common.config import Endpoint, section
from d4common.redis_url import RedisSection, RedisURL


@dataclass(frozen=True)
class Config:
    redis: RedisSection = section(RedisSection)


def load(directory: Path, text: str) -> config.Loaded[Config]:
    path = directory / "x.conf"
    path.write_text(f"[redis]\n{text}")
    return config.load(Config, [path])


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("unix:///run/redis/d4.sock", RedisURL("unix", path="/run/redis/d4.sock")),
        ("unix:///run/redis/d4.sock?db=2", RedisURL("unix", path="/run/redis/d4.sock", db=2)),
        ("unix://me:pw@/run/a", RedisURL("unix", path="/run/a", user="me", password="pw")),
        ("redis://localhost", RedisURL("redis", False, (Endpoint("localhost", 6379),))),
        ("redis://127.0.0.1:1/15", RedisURL("redis", False, (Endpoint("127.0.0.1", 1),), db=15)),
        (
            "redis://:p%40w@[::1]:6379/2",
            RedisURL("redis", False, (Endpoint("::1", 6379),), db=2, password="p@w"),
        ),
        (
            "rediss://user:pass@[::1]:1",
            RedisURL("redis", True, (Endpoint("::1", 1),), user="user", password="pass"),
        ),
        (
            "redis+sentinel://d4:pw@a:1,[::1],c/events/3",
            RedisURL(
                "redis+sentinel",
                False,
                (Endpoint("a", 1), Endpoint("::1", 26379), Endpoint("c", 26379)),
                master="events",
                db=3,
                user="d4",
                password="pw",
            ),
        ),
        ("rediss+sentinel://a/m", RedisURL("redis+sentinel", True, (Endpoint("a", 26379),), master="m")),
        ("redis+cluster://a,b:7", RedisURL("redis+cluster", False, (Endpoint("a", 6379), Endpoint("b", 7)))),
        ("rediss+cluster://d4@a", RedisURL("redis+cluster", True, (Endpoint("a", 6379),), user="d4")),
    ],
)
def test_url_is_taken_apart(text: str, wanted: RedisURL) -> None:
    assert redis_url.parse(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "/run/redis.sock", "http://x", "redis+tls://x", "unix://", "unix://x", "redis://"),
        *("redis://a b", "redis://h:0", "redis://h:99999", "redis://h:x", "redis://h/x", "redis://a,b"),
        *(
            "redis+sentinel://a:1,b:1",
            "redis+sentinel:///m",
            "redis+sentinel://a,/m",
            "redis+sentinel://a/m/x",
        ),
        *("redis+cluster://", "redis+cluster://a/0", "redis+cluster://a,,b", "redis+cluster://a:x"),
        "unixs:///a",
    ],
)
def test_what_is_no_url_is_answered_with_what_would_be(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be unix:///PATH, .*redis\+cluster://HOST:PORT,HOST:PORT"):
        redis_url.parse(text)


@given(
    st.text() | st.from_regex(r"(unix|rediss?(\+(sentinel|cluster))?)://[a-c:,/@%1\[\]?=.-]*", fullmatch=True)
)
def test_any_text_is_a_url_or_a_value_error(text: str) -> None:
    try:
        url = redis_url.parse(text)
    except ValueError:
        return
    assert bool(url.endpoints) != bool(url.path)
    assert bool(url.master) == (url.scheme == "redis+sentinel")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://d4:sesame@h:1/0", "redis://d4:…@h:1/0"),
        ("redis://:sesame@h", "redis://:…@h"),
        ("redis+cluster://d4:sesame@a:1,b:2", "redis+cluster://d4:…@a:1,b:2"),
    ],
)
def test_password_of_a_url_is_not_shown(tmp_path: Path, url: str, shown: str) -> None:
    loaded = load(tmp_path, f"url = {url}\n")
    assert loaded.value.redis.password() == "sesame"
    assert str(loaded.value.redis.url) == shown
    assert "sesame" not in f"{config.show(loaded)} {loaded.value!r}"
    assert f"# url = {shown}, and what is left out is secret" in config.show(loaded)


@pytest.mark.parametrize(
    "url", ["redis://d4:sesame@h:x", "redis://:sesame/sesame@h", "d4:sesame@h", "redis://d4:ses ame sesame@h"]
)
def test_password_of_what_is_no_url_is_not_shown_either(tmp_path: Path, url: str) -> None:
    with pytest.raises(config.ConfigError) as error:
        load(tmp_path, f"url = {url}\n")
    assert "sesame" not in str(error.value)


def test_url_without_a_password_is_shown_as_it_is(tmp_path: Path) -> None:
    assert "\nurl = redis://d4@h:1/0\n" in config.show(load(tmp_path, "url = redis://d4@h:1/0\n"))


def test_password_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("sesame é\nnot this\n")
    loaded = load(tmp_path, f"url = redis://d4@h\npassword_file = {tmp_path}/password\n")
    assert loaded.value.redis.password() == "sesame é"


def test_password_that_systemd_hands_over_comes_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    redis = load(tmp_path, "url = redis://d4@h\npassword_file = /nonexistent\n").value.redis
    with pytest.raises(config.ConfigError):
        redis.password()
    (tmp_path / "redis-password").write_text("sesame\n")
    assert redis.password() == "sesame"
    assert load(tmp_path, "url = redis://h\n").value.redis.password() == "sesame"


def test_without_any_there_is_no_password(tmp_path: Path) -> None:
    assert load(tmp_path, "").value.redis.password() is None


@pytest.mark.parametrize(("content", "why"), [(None, "No such file"), (b"\xff\n", "is not UTF-8 text")])
def test_password_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, why: str) -> None:
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
    redis = load(tmp_path, f"password_file = {path}\n").value.redis
    with pytest.raises(config.ConfigError, match=rf"{path}: \[redis\] password_file cannot be read: {why}"):
        redis.password()


def test_two_passwords_are_a_contradiction(tmp_path: Path) -> None:
    with pytest.raises(config.ConfigError, match="one of them must go"):
        load(tmp_path, "url = redis://:a@h\npassword_file = /p\n")
