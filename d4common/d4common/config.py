"""Configuration: INI files with drop-ins, read into small typed classes; every error at once.

A daemon describes its file as a dataclass with one field per section, and each section as a dataclass
whose fields are made by option(). ``/etc/d4/NAME.conf`` is read first, then ``NAME.conf.d/*.conf`` from
/usr/lib/d4, /run/d4 and /etc/d4 by systemd's own rules: sorted by file name whatever the directory, a
file in /etc hides one of the same name in /run and in /usr/lib, an empty file hides them all. The last
value of an option wins; options that are lists collect; an empty value goes back to the default.

A comment is a line that begins with ``#`` or ``;``: never the rest of a line, since keys, paths and
filters may hold either.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import unquote
from uuid import UUID

T = TypeVar("T")

DROP_IN_ROOTS = (Path("/usr/lib/d4"), Path("/run/d4"), Path("/etc/d4"))
"""Where drop-in directories lie, the strongest last."""


@dataclass(frozen=True)
class Origin:
    """Where a value was written: file and line, counted from one."""

    path: Path
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


class ConfigError(Exception):
    """The configuration cannot be used. ``problems`` holds a sentence for each thing that is wrong."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Written:
    """An option's text in the files, and where it stands (the last part of it, if it collects)."""

    text: str
    origin: Origin


@dataclass(frozen=True)
class Loaded(Generic[T]):
    """A configuration in force, and by (section, option) what was written of it."""

    value: T
    written: Mapping[tuple[str, str], Written]


def option(
    parse: Callable[[str], T],
    default: str | None,
    help: str,
    collects: bool = False,
    secret: bool = False,
    mask: Callable[[str], str] = str,
) -> Any:
    """A field of a section: its parser, its default as one would write it (None: not set), its meaning.

    ``collects`` is for lists, whose values add up over files; ``secret`` is not shown by config show, nor
    in an error; ``mask`` leaves out of the text what must not be.
    """
    value = None if default is None else parse(default)
    metadata = {
        "parse": parse,
        "text": default,
        "help": help,
        "collects": collects,
        "secret": secret,
        "mask": mask,
    }
    return dataclasses.field(default=value, metadata=metadata)


def section(kind: type[T]) -> T:
    """A field of a configuration: one section, all of whose options have defaults."""
    return dataclasses.field(default_factory=kind)


def load(schema: type[T], files: list[Path]) -> Loaded[T]:
    """Reads ``files`` in order into ``schema``. Raises ConfigError with all that is wrong.

    A section may have a method ``problems() -> Iterator[str]`` for what single values cannot show, and
    ``schema`` one that yields a section's name with each, for what single sections cannot; all of it is
    reported beside the rest.
    """
    problems: list[str] = []
    values: dict[tuple[str, str], Any] = {}
    written: dict[tuple[str, str], Written] = {}
    sections = _sections(schema)
    for path in files:
        for origin, name, key, text in _read(path, problems):
            field = _field(sections, name, key, origin, problems)
            if field is None:
                continue
            before = values.pop((name, key), None), written.pop((name, key), None)
            if not text:
                continue
            try:
                value = field.metadata["parse"](text)
            except ValueError as error:
                shown = "" if field.metadata["secret"] else f" = {field.metadata['mask'](text)}"
                problems.append(f"{origin}: [{name}] {key}{shown}: {error}")
                continue
            if field.metadata["collects"] and before[1] is not None:
                value, text = before[0] + value, f"{before[1].text} {text}"
            values[name, key] = value
            written[name, key] = Written(text, origin)
    built = {}
    for name, kind in sections.items():
        own = {key: value for (place, key), value in values.items() if place == name}
        built[name] = kind(**own)
    whole = schema(**built)
    found = [(name, text) for name, part in built.items() for text in _problems(part)]
    for name, text in (*found, *_problems(whole)):
        problems.append(f"{_whence(name, written, files)}: [{name}] {text}")
    if problems:
        raise ConfigError(problems)
    return Loaded(whole, written)


def system_files(name: str) -> list[Path]:
    """The files that configure daemon ``name`` on this system, in the order in which they are read.

    A credential (systemd.exec(5), LoadCredential=) takes the place of the drop-in of its name, which may
    hold a key that only root can read.
    """
    main = Path(f"/etc/d4/{name}.conf")
    found = drop_ins([root / f"{name}.conf.d" for root in DROP_IN_ROOTS])
    credentials = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nonexistent"))
    handed = [credentials / path.name for path in found]
    return [
        *([main] if _has_content(main) else []),
        *(
            credential if _has_content(credential) else path
            for credential, path in zip(handed, found, strict=True)
        ),
    ]


def credential(name: str) -> Path | None:
    """The file in which systemd handed over a credential (systemd.exec(5), LoadCredential=), if it did."""
    path = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nonexistent"), name)
    return path if path.exists() else None


def files_of(path: Path) -> list[Path]:
    """A configuration file given by hand, and the drop-ins in the directory ``PATH.d`` beside it."""
    return [path, *drop_ins([path.with_name(f"{path.name}.d")])]


def drop_ins(directories: list[Path]) -> list[Path]:
    """The drop-ins in force in ``directories`` (the strongest last), in the order of reading."""
    found: dict[str, Path] = {}
    for directory in directories:
        for path in directory.glob("*.conf"):
            found[path.name] = path
    return [found[name] for name in sorted(found) if _has_content(found[name])]


def show(loaded: Loaded[Any]) -> str:
    """The configuration in force, as a file that would give it, each value with its origin."""
    lines = []
    for name, kind in _sections(type(loaded.value)).items():
        lines.append(f"[{name}]")
        for field in dataclasses.fields(kind):
            written = loaded.written.get((name, field.name))
            lines.append(f"# {written.origin if written else 'default'}")
            text = written.text if written else field.metadata["text"] or ""
            shown = field.metadata["mask"](text)
            if written and field.metadata["secret"]:
                lines.append(f"# {field.name} is set, and secret")
            elif shown != text:
                lines.append(f"# {field.name} = {shown}, and what is left out is secret")
            else:
                lines.append(f"{field.name} = {text}".rstrip())
        lines.append("")
    return "\n".join(lines)


def _sections(schema: type[Any]) -> dict[str, type[Any]]:
    hints = typing.get_type_hints(schema)
    return {field.name: hints[field.name] for field in dataclasses.fields(schema)}


def _field(
    sections: dict[str, type[Any]], name: str, key: str, origin: Origin, problems: list[str]
) -> dataclasses.Field[Any] | None:
    """The option that a line names, or a problem that says what there is instead."""
    if name not in sections:
        problems.append(f"{origin}: unknown section [{name}]{_instead(name, sections)}")
        return None
    fields = {field.name: field for field in dataclasses.fields(sections[name])}
    if key not in fields:
        problems.append(f"{origin}: [{name}] has no option {key}{_instead(key, fields)}")
        return None
    return fields[key]


def _instead(word: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; there is {', '.join(known)}"


def _problems(built: Any) -> list[Any]:
    """What a section, or the whole, says of itself."""
    check = getattr(built, "problems", None)
    return [] if check is None else [*check()]


def _whence(name: str, written: Mapping[tuple[str, str], Written], files: list[Path]) -> str:
    """What to name for a problem of a whole section: its last line that was written, or the file."""
    places: list[object] = [each.origin for (place, _), each in written.items() if place == name]
    return str((places or [*files] or ["configuration"])[-1])


def _read(path: Path, problems: list[str]) -> Iterator[tuple[Origin, str, str, str]]:
    """The assignments of one file: origin, section, option and text of each."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        problems.append(f"{path}: cannot be read: {reason}")
        return
    name = ""
    for number, line in enumerate(lines, 1):
        origin, line = Origin(path, number), line.strip()
        if not line or line[0] in "#;":
            continue
        if line[0] == "[" and line[-1] == "]":
            name = line[1:-1].strip()
            continue
        key, equals, text = line.partition("=")
        if not equals:
            problems.append(f"{origin}: neither [section] nor option = value")
        elif not name:
            problems.append(f"{origin}: {key.strip()} stands before any [section]")
        else:
            yield origin, name, key.strip(), text.strip()


def _has_content(path: Path) -> bool:
    """False for what is not there, and for what masks: an empty file, a link to /dev/null."""
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False
    except OSError:
        return True  # reading it will say why it cannot be read


# Parsers: the text of a value in, the value out; ValueError says what would be right.


def text(value: str) -> str:
    """Any text."""
    return value


def words(value: str) -> tuple[str, ...]:
    """Words with white space or commas between them."""
    found = tuple(value.replace(",", " ").split())
    if not found:
        raise ValueError("must hold at least one word")
    return found


def boolean(value: str) -> bool:
    """yes or no, in systemd's spellings."""
    if value.lower() in ("yes", "true", "on", "1"):
        return True
    if value.lower() in ("no", "false", "off", "0"):
        return False
    raise ValueError("must be yes or no")


def integer(low: int, high: int) -> Callable[[str], int]:
    """A whole number from ``low`` to ``high``."""

    def parse(value: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,18}", value) or not low <= int(value) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(value)

    return parse


port = integer(1, 65535)
"""A port number."""


def integers(low: int, high: int) -> Callable[[str], frozenset[int]]:
    """Whole numbers from ``low`` to ``high``, with white space or commas between them."""
    one = integer(low, high)
    return lambda value: frozenset(one(word) for word in words(value))


def bytes_size(low: str, high: str) -> Callable[[str], int]:
    """A size in bytes, with K, M or G (powers of 1024) behind it if large, from ``low`` to ``high``."""

    def parse(value: str) -> int:
        size = _bytes(value)
        if size is None or not (_bytes(low) or 0) <= size <= (_bytes(high) or 0):
            raise ValueError(f"must be a size from {low} to {high}")
        return size

    return parse


def _bytes(value: str) -> int | None:
    match = re.fullmatch(r"([0-9]{1,18})([KMG]?)B?", value, re.IGNORECASE)
    return int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[match[2].upper()] if match else None


def seconds(value: str) -> float:
    """A time span in seconds, written as systemd writes it: 90, 30s, 5min, 2h, 7d."""
    units = {"": 1, "s": 1, "ms": 0.001, "min": 60, "h": 3600, "d": 86400}
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([a-z]*)", value)
    if not match or match[2] not in units:
        raise ValueError("must be a time span such as 30s, 5min, 2h or 7d")
    return float(match[1]) * units[match[2]]


def path(value: str) -> Path:
    """An absolute path."""
    if not os.path.isabs(value):
        raise ValueError("must be an absolute path")
    return Path(value)


def paths(value: str) -> tuple[Path, ...]:
    """Absolute paths with white space between them."""
    return tuple(path(word) for word in value.split())


def uuid4(value: str) -> UUID:
    """A UUID of version 4, with or without dashes."""
    wanted = "must be a UUID of version 4, as `uuidgen -r` makes them"
    try:
        uuid = UUID(value)
    except ValueError:
        raise ValueError(wanted) from None
    if uuid.version != 4:
        raise ValueError(wanted)
    return uuid


def address(value: str) -> str:
    """An IPv4 or IPv6 address of this host."""
    try:
        return str(ip_address(value))
    except ValueError:
        raise ValueError("must be an address such as 127.0.0.1, 0.0.0.0 or ::") from None


@dataclass(frozen=True)
class Endpoint:
    """A host, by name or address, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


_LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_ENDPOINT = re.compile(rf"(?:\[([^\[\]]+)\]|({_LABEL}(?:\.{_LABEL})*)\.?)(?::([0-9]+))?")


def endpoint(default_port: int) -> Callable[[str], Endpoint]:
    """HOST:PORT, where HOST is a name, an IPv4 address or an IPv6 address in brackets."""

    def parse(value: str) -> Endpoint:
        match = _ENDPOINT.fullmatch(value)
        if not match:
            raise ValueError("must be HOST or HOST:PORT; an IPv6 address stands in [brackets]")
        number = port(match[3]) if match[3] else default_port
        return Endpoint(address(match[1]) if match[1] else match[2], number)

    return parse


def endpoints(default_port: int) -> Callable[[str], tuple[Endpoint, ...]]:
    """One HOST:PORT or more, with white space or commas between them."""
    one = endpoint(default_port)
    return lambda value: tuple(map(one, words(value)))


def local_place(value: str) -> Path | Endpoint | None:
    """Where only this host comes: the path of a Unix socket, a loopback HOST:PORT, or no."""
    if value.lower() in ("no", "off"):
        return None
    if os.path.isabs(value):
        return Path(value)
    try:
        found = endpoint(0)(value)
        if found.port and (found.host == "localhost" or ip_address(found.host).is_loopback):
            return found
    except ValueError:
        pass
    raise ValueError("must be the path of a Unix socket, a loopback HOST:PORT such as 127.0.0.1:9444, or no")


@dataclass(frozen=True)
class Proxy:
    """A SOCKS5 proxy, and who we are for it: user name and password, of 1 to 255 bytes each."""

    endpoint: Endpoint
    user: str | None = None
    password: str = dataclasses.field(default="", repr=False)

    def __str__(self) -> str:
        return str(self.endpoint)


_PROXY = re.compile(r"socks5://(?:([^:@/\s]+):([^:@/\s]+)@)?([^@/\s]+)")


def proxy(value: str) -> Proxy:
    """socks5://HOST:PORT, or socks5://USER:PASSWORD@HOST:PORT with other signs than letters as %XX."""
    match = _PROXY.fullmatch(value)
    if not match:
        raise ValueError("must be socks5://HOST:PORT or socks5://USER:PASSWORD@HOST:PORT")
    where = endpoint(1080)(match[3])
    if match[1] is None:
        return Proxy(where)
    user, password = unquote(match[1]), unquote(match[2])
    if max(len(user.encode()), len(password.encode())) > 255:
        raise ValueError("must have a user name and a password of at most 255 bytes")
    return Proxy(where, user, password)


def choice(*known: str) -> Callable[[str], str]:
    """One of a few words."""

    def parse(value: str) -> str:
        if value not in known:
            raise ValueError(f"must be {' or '.join(known)}")
        return value

    return parse
