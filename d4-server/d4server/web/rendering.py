"""Templates, and how values are written in them."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

THEMES = ("auto", "light", "dark")
THEME_COOKIE = "__Host-d4-theme"

UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


class Pages:
    """Makes answers of templates."""

    def __init__(self) -> None:
        self._templates = Environment(
            loader=PackageLoader("d4server.web"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=StrictUndefined,
        )
        self._templates.filters |= {
            "ago": ago,
            "capitalised": capitalised,
            "commands": commands,
            "day": day,
            "dump": dump,
            "labelled": labelled,
            "number": number,
            "rate": rate,
            "size": size,
            "span": span,
            "visible": visible,
            "when": when,
        }
        self._templates.globals["themes"] = THEMES

    def show(self, request: web.Request, template: str, status: int = 200, **values: Any) -> web.Response:
        """The answer to a request: the template with these values, in the theme of the visitor's choice."""
        text = self._templates.get_template(template).render(values, theme=theme_of(request))
        return web.Response(text=text, status=status, content_type="text/html")


def theme_of(request: web.Request) -> str:
    """What the visitor has chosen, or ``auto``: as the system has it."""
    chosen: str = request.cookies.get(THEME_COOKIE, "")
    return chosen if chosen in THEMES else "auto"


def when(seconds: float | None) -> Markup:
    """A time (seconds since the epoch) in UTC; page.js makes it the viewer's. A dash for 0 and None."""
    if not seconds:
        return Markup('<span class="none">–</span>')
    then = datetime.fromtimestamp(seconds, UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        then.isoformat(timespec="seconds"), then.strftime("%Y-%m-%d %H:%M UTC")
    )


def ago(seconds: float | None) -> Markup:
    """How long ago a time is (seconds since the epoch); the time itself is what one sees who points at it."""
    if not seconds:
        return Markup('<span class="none">never</span>')
    then = datetime.fromtimestamp(seconds, UTC)
    left = max(0.0, time.time() - seconds)
    text = "just now" if left < 30 else " ".join(span(left).split()[:2]) + " ago"
    return Markup('<time class="ago" datetime="{}" title="{}">{}</time>').format(
        then.isoformat(timespec="seconds"), then.strftime("%Y-%m-%d %H:%M:%S UTC"), text
    )


def day(date: str) -> str:
    """A day such as 2026-11-24 as ``24 Nov``."""
    return datetime.fromisoformat(date).strftime("%-d %b")


def size(count: float) -> str:
    """Bytes in the unit that suits, such as ``3.4 MiB``."""
    power = 0
    while abs(count) >= 1024 and power < len(UNITS) - 1:
        count, power = count / 1024, power + 1
    return f"{count:.0f} {UNITS[power]}" if not power or count >= 100 else f"{count:.1f} {UNITS[power]}"


def number(count: float) -> str:
    """A number with commas."""
    return f"{count:,.0f}"


def span(seconds: float) -> str:
    """How long, in the two units that matter most: ``2 d 3 h``, ``5 min``, ``12 s``."""
    left, parts = int(seconds), list[str]()
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def rate(per_second: float) -> str:
    """How many in a second."""
    return f"{per_second:,.0f}" if per_second >= 10 else f"{per_second:.2g}"


def dump(digits: str) -> str:
    """Bytes, given as hexadecimal digits, in lines of 16: where in the record, digits, letters of ASCII."""
    data, lines = bytes.fromhex(digits), list[str]()
    for start in range(0, len(data), 16):
        piece = data[start : start + 16]
        letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in piece)
        lines.append(f"{start:04x}  {piece.hex(' '):<47}  {letters}")
    return "\n".join(lines)


def visible(text: str) -> str:
    """Text in which what cannot be seen, or would turn the rest around, stands as ``\\x1b`` does."""
    return "".join(
        each if each.isprintable() or each in "\t\n" else ascii(each)[1:-1] for each in text.rstrip("\n")
    )


def capitalised(sentence: str) -> str:
    """With a large letter at its beginning, and the others as they are."""
    return sentence[:1].upper() + sentence[1:]


def labelled(name: str) -> str:
    """A field's name for people."""
    return "UUID" if name == "uuid" else name.replace("_", " ").capitalize()


def commands(words: str) -> Markup:
    """Words in which commands stand between backticks."""
    parts = words.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else part for place, part in enumerate(parts)
    )
