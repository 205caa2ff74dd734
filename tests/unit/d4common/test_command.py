"""The commands that every daemon has."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import pytest

from d4common import command, config
from d4common.command import BROKEN_CONFIG


@dataclass(frozen=True)
class Sensor:
    snaplen: int = config.option(config.integer(1, 100), "10", "Most bytes of a payload.")


@dataclass(frozen=True)
class Schema:
    sensor: Sensor = config.section(Sensor)


BROKEN = "[sensor]\nsnaplen = x\nname = y\n"


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    path = tmp_path / "sensor.conf"
    path.write_text("[sensor]\nsnaplen = 20\n")
    return path


def run(conf: Path, *words: str) -> None:
    """Runs a command line of a program that has the commands."""
    parser = argparse.ArgumentParser()
    command.add_config(parser.add_subparsers(required=True), Schema, lambda arguments: [conf])
    arguments = parser.parse_args(words)
    arguments.run(arguments)


def test_config_show_prints_what_is_in_force(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(conf, "config", "show")
    assert capsys.readouterr() == (f"[sensor]\n# {conf}:2\nsnaplen = 20\n", "")


def test_config_check_says_nothing_about_a_good_one(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(conf, "config", "check")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("words", [("config", "check"), ("config", "show")])
def test_broken_configuration_ends_with_all_its_errors(
    conf: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    conf.write_text(BROKEN)
    with pytest.raises(SystemExit) as ended:
        run(conf, *words)
    output, errors = capsys.readouterr()
    assert (ended.value.code, output, len(errors.splitlines())) == (BROKEN_CONFIG, "", 2)
    assert f"{conf}:2: [sensor] snaplen = x" in errors and f"{conf}:3: [sensor] has no option name" in errors


def test_daemon_gets_the_configuration_or_ends(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.load_or_end(Schema, [conf]) == Schema(Sensor(20))
    conf.write_text(BROKEN)
    with pytest.raises(SystemExit, match="78"):
        command.load_or_end(Schema, [conf])
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_an_argument_that_is_wrong_says_what_would_be_right(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("uuid", type=command.argument(config.uuid4))
    with pytest.raises(SystemExit):
        parser.parse_args(["nonsense"])
    assert "'nonsense' must be a UUID of version 4" in capsys.readouterr().err


def test_what_is_left_for_later_is_added_when_the_command_line_comes_to_it() -> None:
    added: list[str] = []

    def add_rest(to: argparse.ArgumentParser) -> None:
        added.append(to.prog)
        to.add_argument("--name")

    parser = command.parser("d4-something", "Does something.")
    commands = parser.add_subparsers()
    for name in ("one", "two"):
        command.later(commands.add_parser(name), add_rest)
    assert parser.parse_args(["two", "--name", "x"]).name == "x"
    assert parser.parse_args(["two"]).name is None
    assert added == ["d4-something two"], "once, and of no other"
