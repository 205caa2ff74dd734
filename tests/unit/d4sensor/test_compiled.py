"""Compiled files of trails."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4sensor import compiled
from d4sensor.compiled import Contents, OtherLayout
from d4sensor.indicator import parse
from d4sensor.merge import merge
from d4sensor.trails import Entry, Trail, TrailError, Trails

BAD = Trail("bad (malware)", "(static)", "bad.txt")


def contents(*texts: str, trail: Trail = BAD) -> Contents:
    """What these indicators make."""
    return Contents(merge(Entry(parse(text), trail) for text in texts), [], [], {})


def opened(path: Path, *texts: str) -> Trails:
    """A compiled file of these indicators, written and opened."""
    compiled.write(path, contents(*texts))
    return compiled.open_(path)


def test_trails_are_found_and_others_are_not(tmp_path: Path) -> None:
    found = opened(tmp_path / "trails.mdb", "evil.tld", "192.0.2.1:443", "/gate.php")
    assert len(found) == 3
    assert found.get("evil.tld") == found.get("192.0.2.1:443") == found.get("/gate.php") == BAD
    assert found.get("evil.tl") is found.get("") is found.get("bücher.tld") is found.get("\0") is None


def test_key_longer_than_lmdb_has_them(tmp_path: Path) -> None:
    found = opened(tmp_path / "trails.mdb", "/" + "x" * 2000)
    assert found.get("/" + "x" * 2000) == BAD
    assert found.get("/" + "x" * 1999) is found.get("/" + "x" * 2001) is None


def test_addresses_and_networks(tmp_path: Path) -> None:
    found = opened(tmp_path / "trails.mdb", "192.0.2.1", "198.51.100.0/24", "2001:db8::/32")
    numbers = np.array([0xC0000201, 0xC0000202, 0xC6336407], dtype=np.uint32)
    assert found.addresses.hold4(numbers).tolist() == [True, False, True]
    upper = np.array([0x20010DB8 << 32, 0x20010DB9 << 32], dtype=np.uint64)
    assert found.addresses.hold6(upper).tolist() == [True, False]
    assert found.listing("198.51.100.7") == ("198.51.100.0/24", BAD)
    assert found.listing("2001:db8:1::7") == ("2001:db8::/32", BAD)
    assert found.listing("192.0.2.2") is None


def test_all_that_belongs_to_trails_is_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "trails.mdb"
    merged = merge([Entry(parse("evil[0-9]+.tld"), BAD)])
    compiled.write(path, Contents(merged, ["good.tld"], ["sqlmap", r"\Aü"], {"sources": {"x": 1}}))
    found = compiled.open_(path)
    assert [key for _, key in found.patterns] == ["evil[0-9]+.tld"]
    assert found.whitelisted("www.good.tld")
    assert found.user_agents == ("sqlmap", r"\Aü")
    assert compiled.about(path) == {"sources": {"x": 1}}


def test_nothing_compiles_too(tmp_path: Path) -> None:
    found = opened(tmp_path / "trails.mdb")
    assert len(found) == 0
    assert found.get("evil.tld") is None
    assert not found.addresses.hold4(np.array([1], dtype=np.uint32)).any()


def test_new_file_takes_the_place_of_one_that_is_in_use(tmp_path: Path) -> None:
    path = tmp_path / "trails.mdb"
    before = opened(path, "old.tld", "192.0.2.1")
    after = opened(path, "new.tld")
    assert before.get("old.tld") == after.get("new.tld") == BAD
    assert before.get("new.tld") is after.get("old.tld") is None
    assert before.addresses.hold4(np.array([0xC0000201], dtype=np.uint32)).all()
    assert [file.name for file in tmp_path.iterdir()] == ["trails.mdb"]


def test_what_a_file_lends_keeps_it_open(tmp_path: Path) -> None:
    found = opened(tmp_path / "trails.mdb", "evil.tld", "192.0.2.1")
    get, addresses, keys = found.get, found.addresses, found.filter
    del found
    gc.collect()
    assert keys.may_be("evil.tld")
    assert get("evil.tld") == BAD
    assert addresses.hold4(np.array([0xC0000201], dtype=np.uint32)).all()


def test_file_is_let_go_at_once(tmp_path: Path) -> None:
    found = opened(tmp_path / "trails.mdb", "evil.tld", "192.0.2.1")
    assert found.filter.may_be("evil.tld")
    maps = Path("/proc/self/maps")
    assert str(tmp_path) in maps.read_text()
    gc.disable()
    try:
        del found
        assert str(tmp_path) not in maps.read_text()
    finally:
        gc.enable()


@pytest.mark.parametrize("content", [b"", b"no trails", b"\0" * 100_000])
def test_file_that_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "trails.mdb"
    path.write_bytes(content)
    with pytest.raises(TrailError, match="trails.mdb: these are not trails"):
        compiled.open_(path)


def test_file_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "trails.mdb"
    compiled.write(path, contents("evil.tld"))
    path.write_bytes(path.read_bytes()[:16384])
    with pytest.raises(TrailError, match="trails.mdb: these are not trails"):
        compiled.open_(path)


def test_file_of_another_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "trails.mdb"
    compiled.write(path, contents("evil.tld"))
    monkeypatch.setattr(compiled, "MARK", b"d4trail1")
    with pytest.raises(OtherLayout, match="trails.mdb was compiled by another version of d4-sensor"):
        compiled.open_(path)


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        compiled.open_(tmp_path / "trails.mdb")


def test_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere/trails.mdb.new cannot be written: .*No such file"):
        compiled.write(tmp_path / "nowhere" / "trails.mdb", contents("evil.tld"))


keys = st.from_regex(r"[a-z]{1,3}(\.[a-z]{1,3}){0,2}|/[a-z=?]{1,600}|10\.0\.[0-9]\.[0-9]", fullmatch=True)


@given(st.lists(keys, max_size=20), st.lists(keys, max_size=20))
def test_compiled_trails_are_those_of_the_text(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], others: list[str]
) -> None:
    source = contents(*texts)
    path = tmp_path_factory.getbasetemp() / "any.mdb"
    compiled.write(path, source)
    found = compiled.open_(path)
    for key in [*source.merged.entries, *others]:
        assert found.get(key) == source.merged.entries.get(key)
