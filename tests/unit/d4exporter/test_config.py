"""exporter.d/NAME.conf, as it may be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from d4common import config
from d4common.config import Endpoint
from d4exporter.config import ExporterConfig, instance_files

NEEDED = "[queue]\ntype = maltrail\nqueue = maltrail\n[sink]\ndestination = {}\n"


def load(tmp_path: Path, text: str) -> ExporterConfig:
    """The configuration in a file that holds ``text``."""
    path = tmp_path / "one.conf"
    path.write_text(text)
    return config.load(ExporterConfig, [path]).value


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("127.0.0.1:9999", Endpoint("127.0.0.1", 9999)),
        ("[2001:db8::1]:514", Endpoint("2001:db8::1", 514)),
        ("collector.example.org", Endpoint("collector.example.org", 8337)),
    ],
)
def test_a_destination_is_a_host_and_a_port(tmp_path: Path, text: str, endpoint: Endpoint) -> None:
    loaded = load(tmp_path, NEEDED.format(text))
    assert (loaded.sink.destination, loaded.sink.newline) == (endpoint, True)


@pytest.mark.parametrize(
    ("type", "chunks", "wanted"), [("maltrail", "no", False), ("own", "yes", True), ("1", "no", True)]
)
def test_what_is_chunks_is_known_or_said(tmp_path: Path, type: str, chunks: str, wanted: bool) -> None:
    text = NEEDED.format("127.0.0.1").replace("type = maltrail", f"type = {type}\nchunks = {chunks}")
    assert load(tmp_path, text).queue.is_chunks == wanted


def test_what_has_no_default_must_be_set(tmp_path: Path) -> None:
    with pytest.raises(config.ConfigError) as error:
        load(tmp_path, "[queue]\ntype = maltrail\n")
    assert error.value.problems == [
        f"{tmp_path}/one.conf:2: [queue] must set type and queue",
        f"{tmp_path}/one.conf: [sink] must set destination",
    ]


def test_what_is_wrong_is_said_all_at_once(tmp_path: Path) -> None:
    with pytest.raises(config.ConfigError) as error:
        load(
            tmp_path,
            "[queue]\nquue = x\n[sink]\ndestination = 1.2.3.4:0\nnewline = maybe\n[redis]\nurl = nonsense\n",
        )
    wanted = [
        "one.conf:2: [queue] has no option quue; did you mean queue?",
        "one.conf:4: [sink] destination",
        "one.conf:5: [sink] newline",
        "one.conf:7: [redis] url",
        "[queue] must set type and queue",
    ]
    for words in wanted:
        assert words in str(error.value)


def test_an_instance_has_its_own_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("d4exporter.config.INSTANCES", tmp_path)
    (tmp_path / "one.conf").write_text(NEEDED.format("127.0.0.1"))
    (tmp_path / "one.conf.d").mkdir()
    (tmp_path / "one.conf.d" / "local.conf").write_text("[sink]\nnewline = no\n")
    (tmp_path / "two.conf").write_text(NEEDED.format("127.0.0.2"))
    assert not config.load(ExporterConfig, instance_files("one")).value.sink.newline
    destination = config.load(ExporterConfig, instance_files("two")).value.sink.destination
    assert destination is not None and destination.host == "127.0.0.2"
