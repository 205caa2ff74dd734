"""What a feed's TOML file may say."""

from __future__ import annotations

from pathlib import Path

import pytest

from d4sensor import feeds
from d4sensor.feeds import Feed

SHIPPED = Path(__file__).parents[3] / "d4-sensor" / "feeds"
WHOLE = 'url = "https://a.org/list"\nreference = "a.org"\ninfo = "bad"\n'


def write(directory: Path, name: str, text: str) -> Path:
    """A directory with such a feed."""
    directory.mkdir(exist_ok=True)
    (directory / f"{name}.toml").write_text(text)
    return directory


def test_feed_is_its_file(tmp_path: Path) -> None:
    write(tmp_path, "b", WHOLE + 'format = "csv"\ncolumn = 2\n')
    write(tmp_path, "a", WHOLE)
    assert feeds.load([tmp_path]) == (
        [
            Feed("a", "https://a.org/list", "a.org", info="bad"),
            Feed("b", "https://a.org/list", "a.org", info="bad", format="csv", column=2),
        ],
        [],
    )


def test_later_directory_changes_what_it_mentions(tmp_path: Path) -> None:
    first = write(tmp_path / "usr", "a", WHOLE)
    second = write(tmp_path / "etc", "a", "enabled = false\n")
    (feed,), problems = feeds.load([first, second, tmp_path / "absent"])
    assert (feed.enabled, feed.url, problems) == (False, "https://a.org/list", [])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("url = ", "x.toml: Invalid value"),
        ('info = "x"', "x.toml: url and reference must be there"),
        (
            WHOLE.replace("https", "http"),
            "x.toml: url = http://a.org/list: a feed is fetched over https:// only",
        ),
        (WHOLE + 'colour = "red"', "x.toml: there is no colour; there is url"),
        (WHOLE + 'column = "2"', "x.toml: column = '2': must be of type int"),
        (WHOLE + 'enabled = "yes"', "x.toml: enabled = 'yes': must be of type bool"),
        (WHOLE + "column = true", "x.toml: column = True: must be of type int"),
        (WHOLE + 'format = "xml"', "x.toml: format = xml: must be one of lines, csv"),
        (WHOLE + 'kind = "wish"', "x.toml: kind = wish: must be one of trails"),
        (WHOLE + 'delimiter = ""', "x.toml: delimiter must be one character"),
        (WHOLE.replace("info", "licence"), "x.toml: info or info_column says what is known"),
        ('name = "y"\n' + WHOLE, "x.toml: there is no name"),
    ],
)
def test_what_is_wrong_is_said_and_the_other_feeds_stay(tmp_path: Path, text: str, problem: str) -> None:
    write(tmp_path, "a", WHOLE)
    write(tmp_path, "x", text)
    found, (said,) = feeds.load([tmp_path])
    assert [feed.name for feed in found] == ["a"]
    assert problem in said


def test_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe")
    found, (said,) = feeds.load([tmp_path])
    assert found == []
    assert str(tmp_path / "x.toml") in said


def test_feeds_that_are_shipped_are_right() -> None:
    found, problems = feeds.load([SHIPPED])
    assert problems == []
    assert {"statics", "user-agents", "whitelist", "urlhaus"} <= {feed.name for feed in found}
