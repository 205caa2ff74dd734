"""Configuration files: which are read, what they say, and every complaint about them."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from d4common import config
from d4common.config import ConfigError, Endpoint, Loaded, Origin, Proxy, Written, option


@dataclass(frozen=True)
class Sensor:
    name: str = option(config.text, "vm", "Name of this sensor.")
    uuid: UUID | None = option(config.uuid4, None, "Its UUID.")
    key: str | None = option(config.text, None, "Its key.", secret=True)
    pin: int | None = option(config.integer(0, 9999), None, "A secret that is parsed.", secret=True)
    trails: tuple[Path, ...] = option(config.paths, "/usr/share/trails", "Trails.", collects=True)
    interfaces: tuple[str, ...] = option(config.words, None, "Interfaces.", collects=True)


@dataclass(frozen=True)
class Limits:
    snaplen: int = option(config.integer(1, 65535), "4096", "Most bytes of a payload.")
    types: frozenset[int] = option(config.integers(1, 255), "1 2 254", "Types.")
    spool: int = option(config.bytes_size("1K", "1000000G"), "64M", "Bytes of the spool.")
    pause: float = option(config.seconds, "30s", "Between attempts.")
    verify: bool = option(config.boolean, "yes", "Verify the server.")
    server: Endpoint | None = option(config.endpoint(4443), None, "The server.")

    def problems(self) -> Iterator[str]:
        if self.snaplen > self.spool:
            yield "snaplen is larger than spool"


@dataclass(frozen=True)
class Schema:
    sensor: Sensor = config.section(Sensor)
    limits: Limits = config.section(Limits)


@dataclass(frozen=True)
class NoKey:
    def problems(self) -> Iterator[str]:
        yield "key is missing"


@dataclass(frozen=True)
class Incomplete:
    sensor: NoKey = config.section(NoKey)


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Loaded[Schema]]:
    """Loads texts as the files 0.conf, 1.conf …, in this order."""

    def load(*texts: str) -> Loaded[Schema]:
        files = []
        for number, text in enumerate(texts):
            files.append(tmp_path / f"{number}.conf")
            files[-1].write_text(text, encoding="utf-8", newline="")
        return config.load(Schema, files)

    return load


@pytest.fixture
def problems(load: Callable[..., Loaded[Schema]], tmp_path: Path) -> Callable[..., list[str]]:
    """What load() complains of, with file names alone."""

    def problems(*texts: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(*texts)
        assert str(caught.value) == "\n".join(caught.value.problems)
        return [problem.replace(f"{tmp_path}/", "") for problem in caught.value.problems]

    return problems


Load = Callable[..., Loaded[Schema]]
Problems = Callable[..., list[str]]


def test_nothing_written_means_the_defaults(load: Load) -> None:
    assert config.load(Schema, []) == load("", "# nothing\n") == Loaded(Schema(), {})


def test_values_have_the_types_of_their_options(load: Load) -> None:
    loaded = load("[limits]\nsnaplen = 100\nverify=no\nserver = [::1]:1\n[sensor]\nname = a = b\n").value
    assert loaded.limits == Limits(snaplen=100, verify=False, server=Endpoint("::1", 1))
    assert loaded.sensor.name == "a = b"


def test_comments_are_whole_lines(load: Load) -> None:
    text = "# one\n; two\n  # three\n[sensor]\r\nname = a # b ; c\r\nkey = #;\r\n\r\n#key = x\n"
    assert load(text).value.sensor == Sensor(name="a # b ; c", key="#;")


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text().map(lambda text: text.replace("\n", "").replace("\r", "").strip()).filter(bool))
def test_any_text_is_a_value(load: Load, text: str) -> None:
    assert load(f"[sensor]\nname = {text}\n[limits]\nsnaplen = 1").value == Schema(
        Sensor(name=text), Limits(snaplen=1)
    )


def test_last_value_wins_and_its_origin_is_known(load: Load, tmp_path: Path) -> None:
    loaded = load("[sensor]\nname = a\n[limits]\nsnaplen = 1\n", "\n[sensor]\n\nname = b\nname = c\n")
    assert loaded.value.sensor.name == "c"
    assert loaded.written == {
        ("sensor", "name"): Written("c", Origin(tmp_path / "1.conf", 5)),
        ("limits", "snaplen"): Written("1", Origin(tmp_path / "0.conf", 4)),
    }


def test_lists_collect_and_an_empty_value_goes_back_to_the_default(load: Load) -> None:
    first, more = "[sensor]\ninterfaces = a b\ntrails = /1\n", "[sensor]\ninterfaces = c\n"
    reset = "[sensor]\ninterfaces =\ntrails = \n"
    assert load(first, more).value.sensor.interfaces == ("a", "b", "c")
    assert load(first, more).value.sensor.trails == (Path("/1"),)
    assert load(first, reset) == Loaded(Schema(), {})
    assert load(first, reset + "interfaces = d").value.sensor.interfaces == ("d",)


# Every error, at once.


def test_all_problems_are_reported_with_file_line_and_what_would_be_right(problems: Problems) -> None:
    first = """name = before any section
[sensor]
uuid = 6f1c2c7b-1d1f-1f3c-9d0a-2b8e5d7a4c11
nam = x
colour = red
what is this
[limts]
snaplen = 1
[nothing]
x = y
"""
    second = "[limits]\nsnaplen = 65535\nspool = 1K\npause = soon\n"
    assert problems(first, second) == [
        "0.conf:1: name stands before any [section]",
        "0.conf:3: [sensor] uuid = 6f1c2c7b-1d1f-1f3c-9d0a-2b8e5d7a4c11: "
        "must be a UUID of version 4, as `uuidgen -r` makes them",
        "0.conf:4: [sensor] has no option nam; did you mean name?",
        "0.conf:5: [sensor] has no option colour; there is name, uuid, key, pin, trails, interfaces",
        "0.conf:6: neither [section] nor option = value",
        "0.conf:8: unknown section [limts]; did you mean limits?",
        "0.conf:10: unknown section [nothing]; there is sensor, limits",
        "1.conf:4: [limits] pause = soon: must be a time span such as 30s, 5min, 2h or 7d",
        "1.conf:3: [limits] snaplen is larger than spool",
    ]


@pytest.mark.parametrize(
    "line", ["pin = s3cret", "pin: s3cret", "s3cret", "kye = s3cret", "[s3cret", "key = s3cret\npin = x"]
)
def test_no_complaint_shows_a_secret(problems: Problems, line: str) -> None:
    assert problems(f"[sensor]\n{line}\n") and "s3cret" not in str(problems(f"[sensor]\n{line}\n"))


def test_files_that_cannot_be_read_are_problems(tmp_path: Path) -> None:
    (tmp_path / "latin1.conf").write_bytes(b"[sensor]\nname = \xe9\n")
    (tmp_path / "directory.conf").mkdir()
    with pytest.raises(ConfigError) as caught:
        config.load(Schema, [tmp_path / f"{name}.conf" for name in ("latin1", "directory", "missing")])
    assert caught.value.problems == [
        f"{tmp_path}/latin1.conf: cannot be read: is not UTF-8 text",
        f"{tmp_path}/directory.conf: cannot be read: Is a directory",
        f"{tmp_path}/missing.conf: cannot be read: No such file or directory",
    ]


def test_problem_of_a_section_that_nobody_wrote_is_the_files(tmp_path: Path) -> None:
    empty = tmp_path / "x.conf"
    empty.touch()
    with pytest.raises(ConfigError, match=rf"{empty}: \[sensor\] key is missing"):
        config.load(Incomplete, [empty])
    with pytest.raises(ConfigError, match=r"configuration: \[sensor\] key is missing"):
        config.load(Incomplete, [])


@given(
    st.text() | st.lists(st.sampled_from(["[sensor]", "[limits]", "name", "pause", "=", "\n"])).map("".join)
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_loads_or_is_a_config_error(load: Load, text: str) -> None:
    try:
        load(text)
    except ConfigError as error:
        assert error.problems


# Which files are read.


def write(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_drop_ins_are_read_by_name_and_the_strongest_directory_has_it(tmp_path: Path) -> None:
    weak, strong = tmp_path / "usr", tmp_path / "etc"
    for name in ("50-b.conf", "20-a.conf", "90-empty.conf", "91-null.conf", "92-nowhere.conf"):
        write(weak / name)
    write(strong / "50-b.conf"), write(strong / "30-c.conf"), write(strong / "10-other.txt")
    write(strong / "90-empty.conf", "")
    (strong / "91-null.conf").symlink_to("/dev/null")
    (strong / "92-nowhere.conf").symlink_to("nowhere")
    found = config.drop_ins([weak, tmp_path / "run", strong])
    assert found == [weak / "20-a.conf", strong / "30-c.conf", strong / "50-b.conf"]


def test_drop_in_that_leads_to_itself_is_a_problem(tmp_path: Path) -> None:
    loop = tmp_path / "loop.conf"
    loop.symlink_to(loop)
    with pytest.raises(ConfigError, match="loop.conf: cannot be read: Too many levels of symbolic links"):
        config.load(Schema, config.drop_ins([tmp_path]))


def test_file_given_by_hand_has_its_drop_ins_beside_it(tmp_path: Path) -> None:
    main, drop_in = write(tmp_path / "my.conf"), write(tmp_path / "my.conf.d/10.conf")
    write(tmp_path / "other.conf.d/10.conf")
    assert config.files_of(main) == [main, drop_in]
    with pytest.raises(ConfigError, match="absent.conf: cannot be read"):
        config.load(Schema, config.files_of(tmp_path / "absent.conf"))


def test_credential_takes_the_place_of_the_drop_in_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = usr, run, etc = tmp_path / "usr", tmp_path / "run", tmp_path / "etc"
    monkeypatch.setattr(config, "DROP_IN_ROOTS", roots)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    defaults = write(usr / "nobody.conf.d/10-defaults.conf")
    key = write(etc / "nobody.conf.d/20-key.conf")
    last = write(run / "nobody.conf.d/30-last.conf")
    assert config.system_files("nobody") == [defaults, key, last]
    credential = write(tmp_path / "credentials/20-key.conf")
    write(tmp_path / "credentials/tls-key")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credential.parent))
    assert config.system_files("nobody") == [defaults, credential, last]


# What config show prints.


def test_show_says_where_each_value_was_written_and_hides_secrets(load: Load, tmp_path: Path) -> None:
    shown = config.show(load("[sensor]\nname = probe\n", "[limits]\nverify = off\n[sensor]\nkey = s3cret"))
    assert f"[sensor]\n# {tmp_path}/0.conf:2\nname = probe\n# default\nuuid =\n" in shown
    assert f"# {tmp_path}/1.conf:2\nverify = " in shown
    assert f"# {tmp_path}/1.conf:4\n# key is set, and secret\n# default\npin =\n" in shown
    assert "# default\nsnaplen = 4096\n" in shown
    assert "s3cret" not in shown


numbers = st.integers(1, 255).map(str)
names = st.text(string.ascii_lowercase, min_size=1, max_size=8)
written = st.fixed_dictionaries(
    {},
    optional={
        "name": st.text().map(lambda text: text.replace("\n", "").replace("\r", "").strip()),
        "uuid": st.uuids(version=4).map(str),
        "trails": st.lists(names.map("/{}".format)).map(" ".join),
        "interfaces": st.lists(names).map(", ".join),
        "snaplen": numbers,
        "types": st.lists(numbers).map(" ".join),
        "spool": st.builds("{}{}".format, st.integers(4, 10**6), st.sampled_from(["K", "M", "G", "kb"])),
        "pause": st.builds(
            "{}{}".format,
            st.integers(0, 10**6) | st.sampled_from(["0.25", "1.5"]),
            st.sampled_from(["ms", "s", "d"]),
        ),
        "verify": st.sampled_from(["no", "off", "TRUE", "1"]),
        "server": st.builds("{}:{}".format, names | st.just("[::1]"), numbers),
    },
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(written)
def test_what_show_prints_loads_back_to_the_same(load: Load, values: dict[str, str]) -> None:
    sections = {key: "sensor" if key in Sensor.__dataclass_fields__ else "limits" for key in values}
    text = "".join(f"[{sections[key]}]\n{key} = {value}\n" for key, value in values.items())
    loaded = load(text)
    assert load(config.show(loaded)).value == loaded.value


# What each kind of value may look like.

V4 = "6f1c2c7b-1d1f-4f3c-9d0a-2b8e5d7a4c11"
Parser = Callable[[str], Any]
whole, wholes = config.integer(-1, 255), config.integers(1, 255)
server, servers = config.endpoint(4443), config.endpoints(4443)
size = config.bytes_size("1K", "2G")
live_or_file = config.choice("live", "file")


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (config.text, " # anything = ", " # anything = "),
        (config.words, "a, b\tc,d", ("a", "b", "c", "d")),
        (config.boolean, "Yes", True),
        (config.boolean, "on", True),
        (config.boolean, "1", True),
        (config.boolean, "FALSE", False),
        (config.boolean, "0", False),
        (whole, "-1", -1),
        (whole, "255", 255),
        (whole, "007", 7),
        (config.port, "65535", 65535),
        (wholes, "254, 1 2 2", frozenset({1, 2, 254})),
        (size, "1024", 1024),
        (size, "64M", 64 << 20),
        (size, "2GB", 2 << 30),
        (size, "1k", 1024),
        (config.seconds, "90", 90),
        (config.seconds, "30 s", 30),
        (config.seconds, "500ms", 0.5),
        (config.seconds, "0.5", 0.5),
        (config.seconds, "5min", 300),
        (config.seconds, "2h", 7200),
        (config.seconds, "7d", 604800),
        (config.path, "/a b", Path("/a b")),
        (config.paths, "/a  /b", (Path("/a"), Path("/b"))),
        (config.uuid4, V4, UUID(V4)),
        (config.uuid4, V4.replace("-", "").upper(), UUID(V4)),
        (config.address, "0.0.0.0", "0.0.0.0"),
        (config.address, "::0001", "::1"),
        (server, "d4.example.technology", Endpoint("d4.example.technology", 4443)),
        (server, "d4server:1", Endpoint("d4server", 1)),
        (server, "192.0.2.1:65535", Endpoint("192.0.2.1", 65535)),
        (server, "[2001:db8::1]", Endpoint("2001:db8::1", 4443)),
        (server, "[::1]:7", Endpoint("::1", 7)),
        (servers, "d4server:1, [::1]", (Endpoint("d4server", 1), Endpoint("::1", 4443))),
        (config.proxy, "socks5://127.0.0.1:9050", Proxy(Endpoint("127.0.0.1", 9050))),
        (config.proxy, "socks5://a%3Ab:%40@proxy", Proxy(Endpoint("proxy", 1080), "a:b", "@")),
        (config.local_place, "/run/d4/metrics.sock", Path("/run/d4/metrics.sock")),
        (config.local_place, "127.0.0.1:9444", Endpoint("127.0.0.1", 9444)),
        (config.local_place, "[::1]:9444", Endpoint("::1", 9444)),
        (config.local_place, "localhost:9444", Endpoint("localhost", 9444)),
        (config.local_place, "no", None),
        (live_or_file, "file", "file"),
    ],
)
def test_value_is_taken(parse: Parser, text: str, value: object) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "texts", "right"),
    [
        (config.words, [",", " , ,"], "must hold at least one word"),
        (config.boolean, ["", "y es", "2", "ja"], "must be yes or no"),
        (
            whole,
            ["", "-2", "256", "1.0", "1e3", "0x1", "+1", "1_0", "١", "1" * 5000],
            "whole number from -1 to 255",
        ),
        (config.port, ["0", "65536", "-1"], "whole number from 1 to 65535"),
        (wholes, ["0", "1 x", "1 256", ","], "must "),
        (
            size,
            ["", "-1", "1.5M", "1T", "M", "1 000", "1023", "2049M", "9" * 5000],
            "must be a size from 1K to 2G",
        ),
        (
            config.seconds,
            ["", "-1", "soon", "1 week", "1e3", "5 m", "inf", "nan", "9" * 5000],
            "such as 30s, 5min",
        ),
        (config.path, ["", "a", "./a", "~/a"], "must be an absolute path"),
        (config.paths, ["/a b"], "must be an absolute path"),
        (
            config.uuid4,
            ["", "x", V4[:-1], V4.replace("-4", "-1"), V4.replace("-9", "-d")],
            "UUID of version 4",
        ),
        (config.address, ["", "localhost", "1.2.3", "1.2.3.4:5", "[::1]", "256.0.0.1"], "must be an address"),
        (
            server,
            ["", ":1", "a:", "::1", "a b", "[::1", "a:b", "a..b", ".a", "-a", "a_!", "a" * 64, "http://a"],
            "must be HOST or HOST:PORT",
        ),
        (servers, ["", ","], "must hold at least one word"),
        (config.proxy, ["proxy:1080", "http://proxy", "socks5://me@proxy", "socks5://"], "must be socks5://"),
        (config.proxy, [f"socks5://{'é' * 128}:x@proxy"], "at most 255 bytes"),
        (server, ["[x]", "[:::]", "[1.2.3.4.5]:1"], "must be an address"),
        (server, ["a:0", "a:65536", "a:" + "1" * 5000], "whole number from 1 to 65535"),
        (
            config.local_place,
            ["", "192.0.2.1:9444", "0.0.0.0:9444", "[::]:1", "127.0.0.1", "example.org:1", "run.sock"],
            "must be the path of a Unix socket, a loopback HOST:PORT",
        ),
        (live_or_file, ["", "Live", "live file"], "must be live or file"),
    ],
)
def test_value_is_refused_with_what_would_be_right(parse: Parser, texts: list[str], right: str) -> None:
    for text in texts:
        with pytest.raises(ValueError, match=right):
            parse(text)


@given(st.ip_addresses(), st.integers(1, 65535))
def test_endpoint_is_written_as_it_is_read(address: object, port: int) -> None:
    wanted = Endpoint(str(ip_address(str(address))), port)
    assert server(str(wanted)) == wanted
