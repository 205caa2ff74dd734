"""The configuration directory of d4-goclient, a file for each option, read as it is.

What d4-goclient would do and d4-sensor does not is an error that says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from d4common import config
from d4common.config import ConfigError, Endpoint
from d4common.packet import EXTENDED, MAX_PAYLOAD, META_HEADER
from d4common.sender import Identity, Sender
from d4sensor.config import D4
from d4sensor.source_config import Source, d4_type, meta_header

T = TypeVar("T")

MOST = 100
"""Bytes that d4-goclient reads of each file but the meta header."""


def read(directory: Path, json: bool = False) -> tuple[D4, Source, Sender]:
    """Where to, what, and who sends it. Raises ConfigError with all that is wrong.

    ``json`` is d4-goclient's flag of that name: the files of a folder as they are, and not as base64. The
    ``ca`` is rootCA.crt, which need not be there.
    """
    if not directory.is_dir():
        raise ConfigError([f"{directory} is not a directory"])
    problems: list[str] = []

    def of(name: str, parse: Callable[[bytes], T]) -> T | None:
        """What a file says; None where that is wrong."""
        try:
            return parse(_beginning(directory / name))
        except (ValueError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            problems.append(f"{directory / name}: {reason}")
            return None

    def meta(_: bytes) -> dict[str, Any]:
        return meta_header(str(directory.absolute() / "metaheader.json"))

    kind, type = of("source", _text(_kind)), of("type", _text(_type))
    destination = of("destination", _text(_destination))
    uuid, key, version = of("uuid", _text(config.uuid4)), of("key", _key), of("version", _text(_version))
    source = Source(
        kind=kind,
        type=type,
        metaheader=of("metaheader.json", meta) if type == EXTENDED else None,
        snaplen=of("snaplen", _text(_snaplen)) or 4096,
        path=of("folder", _text(_folder)) if kind == "folder" else None,
        base64=kind == "folder" and not json,
    )
    if not problems:
        problems += [f"{directory}: {problem}" for problem in source.problems()]
    if problems or destination is None or uuid is None or key is None or type is None:
        raise ConfigError(problems)
    sender = Sender(Identity(uuid, key), type, source.metaheader, version or 1)
    return D4(destination=(destination,), ca=_ca(directory)), source, sender


def _text(parse: Callable[[str], T]) -> Callable[[bytes], T]:
    """A parser of text, for what a file holds."""
    return lambda content: parse(content.decode().strip())


def _beginning(path: Path) -> bytes:
    """As much of a file as d4-goclient reads; b"" where it is not there, as it makes it. Raises OSError."""
    try:
        with path.open("rb") as file:
            return file.read(MOST)
    except FileNotFoundError:
        return b""


def _kind(text: str) -> str:
    if text not in ("stdin", "folder"):
        raise ValueError(f"source = {text} is not one that d4-sensor has here: it reads stdin or folder")
    return text


def _type(text: str) -> int:
    """2 is what d4-goclient calls 254 too."""
    return EXTENDED if text == str(META_HEADER) else d4_type(text)


def _destination(text: str) -> Endpoint:
    if text in ("stdout", "file"):
        raise ValueError(f"destination = {text} is none for d4-sensor, which sends to a server, HOST:PORT")
    return config.endpoint(4443)(text)


def _folder(text: str) -> Path:
    if not text:
        raise ValueError("must name the folder")
    return Path(text).absolute()


def _snaplen(text: str) -> int:
    return 4096 if text in ("", "0") else config.integer(1, MAX_PAYLOAD)(text)


def _version(text: str) -> int:
    return int(text) if re.fullmatch("[0-9]{1,3}", text) and 0 < int(text) < 256 else 1


def _key(content: bytes) -> bytes:
    """The key that d4-goclient signs with: less a line feed at the end, and a carriage return before it."""
    key = content.removesuffix(b"\n").removesuffix(b"\r")
    if not key:
        raise ValueError("must hold the key that the server has for this sensor")
    return key


def _ca(directory: Path) -> Path:
    """rootCA.crt; d4-goclient forgets a slash, so that it may be found beside the directory instead."""
    inside, beside = directory / "rootCA.crt", Path(f"{directory}rootCA.crt")
    return beside if beside.exists() and not inside.exists() else inside
