"""A source's file: what is missing, and what contradicts what, is named at once."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from d4common import config
from d4common.config import ConfigError
from d4sensor.source_config import OPTIONS, Source, SourceConfig, meta_header

EXAMPLE = Path(__file__).parents[3] / "etc" / "d4" / "sources.d" / "example.conf.disabled"


def loaded(tmp_path: Path, text: str) -> Source:
    path = tmp_path / "name.conf"
    path.write_text(f"[source]\n{text}\n")
    return config.load(SourceConfig, [path]).value.source


@pytest.mark.parametrize(
    ("text", "type", "described"),
    [
        ("kind = stdin\ntype = 3", 3, "standard input"),
        ("kind = file\ntype = 8\npath = /var/log/dns", 8, "the file /var/log/dns"),
        ("kind = folder\ntype = 1\npath = /srv\nsettle = 1min", 1, "the folder /srv"),
        ("kind = unix\ntype = 3", 3, "lines from a socket"),
        ("kind = journal\nunit = ssh.service cron.service\npriority = 3", 6, "the journal"),
        ("kind = pcap\ninterface = eth0", 1, "the frames of interface eth0"),
    ],
)
def test_each_kind_has_its_options(tmp_path: Path, text: str, type: int, described: str) -> None:
    source = loaded(tmp_path, text)
    assert (source.data_type, str(source)) == (type, described)


def test_a_meta_header_is_text_or_a_file(tmp_path: Path) -> None:
    path = tmp_path / "header.json"
    path.write_text('{"type": "ja3-jl",\n "more": [1]}\n')
    for text in ('{"type": "ja3-jl", "more": [1]}', str(path)):
        source = loaded(tmp_path, f"kind = stdin\ntype = 254\nmetaheader = {text}")
        assert source.metaheader == {"type": "ja3-jl", "more": [1]}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is no JSON"),
        ('{"type": 3}', 'must be an object of JSON with a text "type"'),
        ("{}", 'must be an object of JSON with a text "type"'),
        ('{"type": "d4-session"}', "means something to the server"),
        (f'{{"type": "x", "y": "{"y" * 100_000}"}}', "at most 100000 bytes"),
        ("/nonexistent/file", "cannot be read: No such file"),
        ("relative", "must be an absolute path"),
        ("{" * 100_000, "is no JSON"),
    ],
)
def test_what_is_no_meta_header(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        meta_header(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("type = 3", "must set kind: stdin, file, folder, unix, journal, pcap"),
        ("kind = tape\ntype = 3", "kind = tape: must be stdin or file"),
        ("kind = stdin", "must set type"),
        ("kind = stdin\ntype = 9", "must be one of 1, 3, 4, 5, 6, 7, 8, 254"),
        ("kind = stdin\ntype = 2", "what follows one is of type 254"),
        ("kind = file\ntype = 3", "kind = file must set path"),
        (
            "kind = stdin\ntype = 3\npath = /x",
            "path belongs to kind = file or folder or unix, not to kind = stdin",
        ),
        ("kind = file\ntype = 3\npath = /x\nsettle = 1s", "settle belongs to kind = folder"),
        ("kind = pcap\nunit = ssh.service", "unit belongs to kind = journal, not to kind = pcap"),
        ("kind = unix\ntype = 1", "type = 1 is not one of lines"),
        ("kind = pcap\ntype = 5", "type = 5 does not go with kind = pcap"),
        ("kind = folder\ntype = 1\npath = /x\nbase64 = yes", "base64 = yes gives lines"),
        ("kind = stdin\ntype = 254", "type = 254 and metaheader go together"),
        ('kind = stdin\ntype = 3\nmetaheader = {"type":"x"}', "type = 254 and metaheader go together"),
        ("kind = pcap\nsnaplen = 4096", "snaplen = 4096 must be 65551 at least"),
        ("kind = pcap\nfilter = no filter", "filter = no filter"),
        ("kind = journal\nmatch = priority:3", "'priority:3' is not FIELD=value"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    assert problem in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "name.conf"))


def test_all_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, "kind = file\nsettle = 1s\nunit = x\ntype = 254")
    assert len(caught.value.problems) == 4


def test_the_example_lists_every_option_at_its_default() -> None:
    listed = re.findall(r"(?m)^# (.*)\n#(\w+) =(.*)$", EXAMPLE.read_text())
    fields = dataclasses.fields(Source)
    assert listed == [
        (each.metadata["help"], each.name, f" {each.metadata['text'] or ''}".rstrip()) for each in fields
    ]


def test_each_option_belongs_to_a_kind_or_to_all() -> None:
    named = {name for names in OPTIONS.values() for name in names}
    everywhere = {"kind", "type", "metaheader", "snaplen"}
    assert named | everywhere == {each.name for each in dataclasses.fields(Source)}
