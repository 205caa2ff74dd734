"""Completion of the command line: what bash offers is what there is."""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

import pytest

from d4common.command import Parser
from d4server.__main__ import command_line

COMPLETION = Path(__file__).resolve().parents[3] / "share" / "bash-completion" / "d4-server"


def offered(*words: str) -> list[str]:
    """What bash offers after these words, of which the last may be empty."""
    completing = 'COMP_WORDS=(d4-server "$@"); COMP_CWORD=$#; _d4_server; echo "${COMPREPLY[*]}"'
    script = f"source {COMPLETION}; {completing}"
    result = subprocess.run(
        ["bash", "-euc", script, "bash", *words], capture_output=True, text=True, check=True, timeout=20
    )
    return result.stdout.split()


def words(parser: argparse.ArgumentParser) -> list[str]:
    """What may come next on a command line."""
    if isinstance(parser, Parser) and parser.add_rest is not None:
        parser.parse_known_args([])
    found = [action.choices for action in parser._actions if action.choices and not action.option_strings]
    return [word for choices in found for word in choices]


def test_commands_and_actions_are_those_that_there_are() -> None:
    parser = command_line()
    assert offered("") == [word for word in words(parser) if word != "worker"], "which nobody types"
    [commands] = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    for name, each in commands.choices.items():
        assert offered(name, "") == words(each), name


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (("qu",), ["queues"]),
        (("--config", "/x", "queues", "cr"), ["create"]),
        (("queues", "create", ""), []),
    ],
)
def test_what_was_begun_is_completed(typed: tuple[str, ...], expected: list[str]) -> None:
    assert offered(*typed) == expected


def test_a_file_is_completed(tmp_path: Path) -> None:
    (tmp_path / "server.conf").touch()
    assert offered("--config", f"{tmp_path}/ser") == [f"{tmp_path}/server.conf"]
