"""The configuration files as they are shipped: every option, explained, at its default."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from d4common import config
from d4exporter.config import ExporterConfig
from d4sensor.config import SensorConfig
from d4server.config import ServerConfig

ETC = Path(__file__).parents[2] / "etc" / "d4"
SCHEMAS: dict[str, type[Any]] = {
    "server.conf": ServerConfig,
    "sensor.conf": SensorConfig,
    "exporter.d/maltrail.conf": ExporterConfig,
}
EVERY = pytest.mark.parametrize("name", SCHEMAS)


def options(schema: type[Any]) -> list[tuple[str, dataclasses.Field[Any]]]:
    """All options of a configuration with the names of their sections, in the order of the classes."""
    return [
        (section.name, option)
        for section in dataclasses.fields(schema)
        for option in dataclasses.fields(section.default_factory)
    ]


@EVERY
def test_every_option_is_listed_in_order_with_what_it_means(name: str) -> None:
    """In the words of the option itself, so that there is one text to keep right."""
    listed, section = [], ""
    for head, meaning, key in re.findall(r"(?m)^\[(\w+)\]$|^# (.*)\n#?(\w+) =", (ETC / name).read_text()):
        section = head or section
        if key:
            listed.append((section, key, meaning))
    assert listed == [(section, each.name, each.metadata["help"]) for section, each in options(SCHEMAS[name])]


@EVERY
def test_what_is_commented_out_is_the_default(name: str) -> None:
    text = (ETC / name).read_text()
    defaults = {(section, each.name): each.metadata["text"] or "" for section, each in options(SCHEMAS[name])}
    section = ""
    for head, hash, key, value in re.findall(r"(?m)^\[(\w+)\]$|^(#?)(\w+) =(.*)$", text):
        section = head or section
        if hash:
            assert value.strip() == defaults[section, key]


@EVERY
def test_it_loads_with_all_its_options_as_without(name: str, tmp_path: Path) -> None:
    shipped = config.load(SCHEMAS[name], [ETC / name])
    uncommented = tmp_path / "all.conf"
    uncommented.write_text(re.sub(r"(?m)^#(?=\w)", "", (ETC / name).read_text()))
    assert config.load(SCHEMAS[name], [uncommented]).value == shipped.value


@pytest.mark.parametrize("name", ["server.conf", "sensor.conf"])
def test_it_sets_nothing(name: str) -> None:
    assert config.load(SCHEMAS[name], [ETC / name]) == config.Loaded(SCHEMAS[name](), {})


def test_the_exporter_that_is_shipped_sets_what_has_no_default() -> None:
    loaded = config.load(ExporterConfig, [ETC / "exporter.d" / "maltrail.conf"])
    assert {f"{section}.{key} = {each.text}" for (section, key), each in loaded.written.items()} == {
        "queue.type = maltrail",
        "queue.queue = maltrail",
        "sink.destination = 127.0.0.1:8337",
    }
