"""A configuration directory of d4-goclient, as it lies there."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from d4common.config import ConfigError, Endpoint
from d4sensor.goclient import read

UUID_TEXT = "aa4f3c2e-9d5b-4f6a-8c1d-2e3f4a5b6c7d"
FILES = {
    "source": "stdin",
    "destination": "192.0.2.1:4443\n",
    "uuid": f"{UUID_TEXT}\n",
    "key": "secret\n",
    "type": "3\n",
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "conf"
    made.mkdir()
    write(made, **FILES)
    return made


def write(directory: Path, **files: str) -> None:
    for name, text in files.items():
        (directory / name.replace("_json", ".json")).write_text(text)


def test_who_sends_what_where_to(directory: Path) -> None:
    d4, source, sender = read(directory)
    assert d4.destination == (Endpoint("192.0.2.1", 4443),)
    assert (source.kind, source.type, source.snaplen) == ("stdin", 3, 4096)
    assert (sender.identity.uuid, sender.identity.key) == (UUID(UUID_TEXT), b"secret")
    assert (sender.type, sender.meta_header, sender.version) == (3, None, 1)
    assert d4.verify and d4.ca == directory / "rootCA.crt"


@pytest.mark.parametrize(
    ("file", "key"),
    [
        (b"key", b"key"),
        (b"key\n", b"key"),
        (b"key\r\n", b"key"),
        (b"key\n\n", b"key\n"),
        (b"key \n", b"key "),
        (b"\xff\xfe\n", b"\xff\xfe"),
        (b"k" * 150, b"k" * 100),
        (b"k" * 100 + b"\n", b"k" * 100),
    ],
)
def test_the_key_is_that_which_goclient_signs_with(directory: Path, file: bytes, key: bytes) -> None:
    (directory / "key").write_bytes(file)
    assert read(directory)[2].identity.key == key


@pytest.mark.parametrize("type", ["2", "254"])
def test_a_meta_header_goes_before_type_2_as_before_254(directory: Path, type: str) -> None:
    write(directory, type=type, metaheader_json='{"type":\n"maltrail"}\n')
    _, source, sender = read(directory)
    assert (sender.type, sender.meta_header) == (254, {"type": "maltrail"})
    assert source.data_type == 254


@pytest.mark.parametrize(
    ("files", "snaplen", "version"),
    [
        ({"snaplen": "1000\n", "version": "7"}, 1000, 7),
        ({"snaplen": "0", "version": "0"}, 4096, 1),
        ({"snaplen": "", "version": "x"}, 4096, 1),
    ],
)
def test_what_goclient_takes_for_the_default(
    directory: Path, files: dict[str, str], snaplen: int, version: int
) -> None:
    write(directory, **files)
    _, source, sender = read(directory)
    assert (source.snaplen, sender.version) == (snaplen, version)


@pytest.mark.parametrize("json", [False, True])
def test_a_folder_as_base64_or_as_it_is(directory: Path, json: bool) -> None:
    write(
        directory,
        source="folder",
        folder="/srv/files\n",
        type="254",
        metaheader_json='{"type":"filewatcher"}',
    )
    source = read(directory, json)[1]
    assert (source.kind, source.path, source.base64) == ("folder", Path("/srv/files"), not json)


def test_the_ca_may_lie_where_goclient_looks_for_it(directory: Path) -> None:
    beside = Path(f"{directory}rootCA.crt")
    beside.write_text("a CA\n")
    assert read(directory)[0].ca == beside
    write(directory, **{"rootCA.crt": "another\n"})
    assert read(directory)[0].ca == directory / "rootCA.crt"


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"source": "d4server"}, "source: source = d4server is not one that d4-sensor has"),
        ({"source": "pcap"}, "source = pcap is not one"),
        ({"destination": "stdout"}, "destination = stdout is none for d4-sensor"),
        ({"destination": "a b"}, "destination: must be HOST or HOST:PORT"),
        ({"uuid": ""}, "uuid: must be a UUID of version 4"),
        ({"key": "\n"}, "key: must hold the key"),
        ({"type": ""}, "type: must be a whole number"),
        ({"type": "254"}, "metaheader.json: cannot be read: No such file"),
        ({"snaplen": "2000000"}, "snaplen: must be a whole number from 1 to 1000000"),
        ({"source": "folder"}, "folder: must name the folder"),
    ],
)
def test_what_is_wrong_is_named(directory: Path, files: dict[str, str], problem: str) -> None:
    write(directory, **files)
    with pytest.raises(ConfigError) as caught:
        read(directory)
    assert len(caught.value.problems) == 1 and problem in str(caught.value)


def test_all_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path)
    assert {problem.split(": ")[0].rpartition("/")[2] for problem in caught.value.problems} == set(FILES)


def test_what_is_no_directory(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a directory"):
        read(tmp_path / "missing")
