"""collector.conf, as it is shipped and as it may be written."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from d4common import config
from maltrailcollector.config import CollectorConfig

SHIPPED = Path(__file__).parents[3] / "etc" / "d4" / "collector.conf"


def test_the_shipped_file_sets_nothing() -> None:
    assert config.load(CollectorConfig, [SHIPPED]) == config.Loaded(CollectorConfig(), {})


def test_the_shipped_file_lists_every_option_at_its_default(tmp_path: Path) -> None:
    uncommented = tmp_path / "collector.conf"
    uncommented.write_text(re.sub(r"(?m)^#(?=\w)", "", SHIPPED.read_text()))
    loaded = config.load(CollectorConfig, [uncommented])
    assert loaded.value == CollectorConfig()
    assert set(loaded.written) == {
        (section.name, option.name)
        for section in dataclasses.fields(CollectorConfig)
        for option in dataclasses.fields(getattr(loaded.value, section.name))
    }


def test_each_option_is_explained_as_config_explains_it() -> None:
    for section in dataclasses.fields(CollectorConfig):
        for option in dataclasses.fields(getattr(CollectorConfig(), section.name)):
            assert f"# {option.metadata['help']}\n#{option.name} =" in SHIPPED.read_text()


def test_what_is_wrong_is_said_all_at_once(tmp_path: Path) -> None:
    path = tmp_path / "collector.conf"
    path.write_text("[udp]\nlisten = everywhere\nudp_port = 0\nmax_age = 59s\n[web]\nstate_dir = here\n")
    with pytest.raises(config.ConfigError) as error:
        config.load(CollectorConfig, [path])
    assert len(error.value.problems) == 4
    assert f"{path}:4: [udp] max_age must be 60s at least" in str(error.value)
