"""Kinds of values that operations take: how each is read, and how OpenAPI says what it is.

A command and a form give text, JSON gives numbers, booleans and lists too; a kind takes both. Kinds that
need a bound are made by functions: ``text(200)``, ``integer(1, 254)``, ``choice("a", "b")``.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from uuid import UUID

from d4common import config
from d4server import blacklist, groups, types

T = TypeVar("T")

DAY = 86400
"""Seconds."""

MOST_ITEMS = 1000
"""Items of a list."""


@dataclass(frozen=True)
class Kind(Generic[T]):
    """``take`` reads a value and raises ValueError with what would be right; ``schema`` is JSON Schema.

    ``label`` is for forms. What is ``secret`` is in no page, log or audit trail. A form shows ``choices``
    to choose from where there are any, and a box of several lines where ``lines``; ``write`` gives a value as
    one would type it.
    """

    take: Callable[[Any], T]
    schema: Mapping[str, Any] = field(hash=False)
    label: str = ""
    secret: bool = False
    choices: tuple[str, ...] = ()
    lines: bool = False
    write: Callable[[Any], str] = str

    def labelled(self, label: str) -> Kind[T]:
        """The same, under a name of its own in forms."""
        return dataclasses.replace(self, label=label)

    def kept_secret(self) -> Kind[T]:
        """The same, and nobody is shown it."""
        return dataclasses.replace(self, secret=True)


def _word(value: Any) -> str:
    """A value that must be text. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError("must be text")
    return value


def text(most: int, least: int = 0, lines: bool = False) -> Kind[str]:
    """Printable text of so many characters, without white space around it; with line feeds if ``lines``."""
    wanted = f"must have {least} to {most} printable characters"

    def take(value: Any) -> str:
        found = _word(value).replace("\r\n", "\n").strip()
        whole = found.replace("\n", "").replace("\t", "") if lines else found
        if not (whole.isprintable() and least <= len(found) <= most):
            raise ValueError(wanted)
        return found

    # Control characters are for nobody, and no more than that can be said of text in a pattern.
    inner = r"[^\x00-\x08\x0b-\x1f\x7f-\x9f]" if lines else r"[^\x00-\x1f\x7f-\x9f]"
    schema = {"type": "string", "minLength": least, "maxLength": most, "pattern": f"^{inner}*$"}
    return Kind(take, schema, lines=lines)


def matching(pattern: str, meaning: str) -> Kind[str]:
    """Text that a regular expression matches whole; ``meaning`` says after "must be" what that is."""

    def take(value: Any) -> str:
        if not re.fullmatch(pattern, _word(value)):
            raise ValueError(f"must be {meaning}")
        return str(value)

    return Kind(take, {"type": "string", "pattern": f"^(?:{pattern})$"})


def integer(low: int, high: int) -> Kind[int]:
    """A whole number from ``low`` to ``high``."""
    parse = config.integer(low, high)

    def take(value: Any) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return parse(value if isinstance(value, str) else _digits(value))

    return Kind(take, {"type": "integer", "minimum": low, "maximum": high})


def _digits(value: Any) -> str:
    """A whole number of JSON as text; what is none, as text that is none."""
    # Python refuses to write numbers of thousands of digits; they are out of every range.
    whole = isinstance(value, int) and not isinstance(value, bool) and value.bit_length() < 64
    return str(value) if whole else ""


def choice(*known: str) -> Kind[str]:
    """One of several words."""

    def take(value: Any) -> str:
        if value not in known:
            raise ValueError(f"must be {', '.join(known[:-1])} or {known[-1]}")
        return str(value)

    return Kind(take, {"type": "string", "enum": list(known)}, choices=known)


def sort(*columns: str) -> Kind[str]:
    """By which column a list is sorted; with a minus before it, the largest first."""
    return choice(*columns, *(f"-{column}" for column in columns)).labelled("Sort by")


def list_of(kind: Kind[T], most: int = MOST_ITEMS) -> Kind[tuple[T, ...]]:
    """Several values of a kind: a list, or text with white space or commas between them."""

    def take(value: Any) -> tuple[T, ...]:
        items = re.split(r"[\s,]+", value.strip(" \t\r\n,")) if isinstance(value, str) else value
        if not isinstance(items, list):
            raise ValueError("must be a list")
        if len(items) > most:
            raise ValueError(f"must have no more than {most} items")
        return tuple(kind.take(item) for item in items if item != "")

    return Kind(
        take, {"type": "array", "items": dict(kind.schema), "maxItems": most}, kind.label, kind.secret
    )


def span(low: str, high: str) -> Kind[float]:
    """A time span, as a number of seconds or as systemd writes it, such as 30s or 24h."""
    least, most = config.seconds(low), config.seconds(high)

    def take(value: Any) -> float:
        number = config.seconds(value) if isinstance(value, str) else _number(value)
        if not least <= number <= most:
            raise ValueError(f"must be a time span from {low} to {high}")
        return float(number)

    number = {"type": "number", "minimum": least, "maximum": most}
    written = {"type": "string", "pattern": "^[0-9]{1,15}(\\.[0-9]{1,6})? ?(ms|s|min|h|d)?$"}
    schema = {"anyOf": [number, written], "description": f"Seconds, or text such as {high}."}
    return Kind(take, schema, write=lambda value: _in_units(value, _SPANS))


def _number(value: Any) -> float | int:
    """A number of JSON. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:  # NaN
        raise ValueError("must be a time span such as 30s, 5min, 2h or 7d, or a number of seconds")
    return value


def size(low: str, high: str) -> Kind[int]:
    """A size in bytes, as a number or with K, M or G behind it."""
    parse = config.bytes_size(low, high)

    def take(value: Any) -> int:
        return parse(value if isinstance(value, str) else _digits(value))

    number = {"type": "integer", "minimum": parse(low), "maximum": parse(high)}
    written = {"type": "string", "pattern": "^[0-9]{1,18}[KMGkmg]?[Bb]?$"}
    schema = {"anyOf": [number, written], "description": f"Bytes, or text such as {high}."}
    return Kind(take, schema, write=lambda value: _in_units(value, _SIZES))


_SPANS = {"d": 86400, "h": 3600, "min": 60, "s": 1}
_SIZES = {"G": 1 << 30, "M": 1 << 20, "K": 1 << 10}


def _in_units(value: Any, units: Mapping[str, int]) -> str:
    """A number in the largest unit of which it is a whole number; text that somebody typed as it is."""
    if isinstance(value, str):
        return value
    for unit, worth in units.items():
        if value and value % worth == 0:
            return f"{value // worth:.0f}{unit}"
    return str(value)


def _boolean(value: Any) -> bool:
    return value if isinstance(value, bool) else config.boolean(_word(value))


def _uuid(value: Any) -> UUID:
    return config.uuid4(_word(value))


def _key(value: Any) -> bytes:
    # A file may hold a key that is no text.
    return value if isinstance(value, bytes) else KEY_TEXT.take(value).encode()


def _entry(value: Any) -> str:
    return blacklist.parse(_word(value))


_X = "[0-9a-fA-F]"


def _group(value: Any) -> str:
    return groups.parse(_word(value))


def _type(value: Any) -> str:
    return types.parse(_digits(value) or _word(value))


UUID4: Kind[UUID] = Kind(
    _uuid,
    {"type": "string", "pattern": f"^{_X}{{8}}-?{_X}{{4}}-?4{_X}{{3}}-?[89abAB]{_X}{{3}}-?{_X}{{12}}$"},
    "UUID",
)
"""A UUID of version 4, with or without dashes."""

NAME = text(64, least=1).labelled("Name")
"""What an administrator calls something."""

DESCRIPTION = text(1000, lines=True).labelled("Description")

KEY_TEXT = text(1000, least=1)
KEY: Kind[bytes] = Kind(_key, KEY_TEXT.schema, "Key", secret=True)
"""The HMAC key of a sensor, as the bytes of its text."""

PASSWORD = text(1000).labelled("Password").kept_secret()

BOOLEAN: Kind[bool] = Kind(_boolean, {"type": "boolean"})

SPAN = span("1s", "366d")
SIZE = size("0", "64G")

ADDRESS_OR_NETWORK: Kind[str] = Kind(
    _entry, {"type": "string", "minLength": 1, "maxLength": 100}, "UUID, address or network"
)
"""What may be on the blacklist: a UUID, an address or a network, in its usual form."""

TYPE: Kind[str] = Kind(
    _type, {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"}, "Type or meta type"
)
"""A data type as the streams are named by it: a number from 1 to 254, or a meta type's name."""

GROUP: Kind[str] = Kind(_group, {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"}, "Group")
"""The name of a group of sensors."""

PAGE = integer(1, 1_000_000).labelled("Page")
PAGE_SIZE = integer(10, 200).labelled("Items on a page")
SEARCH = text(200).labelled("Search")
