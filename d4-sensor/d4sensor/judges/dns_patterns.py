"""Trails that are patterns: regular expressions that are searched for in names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from d4sensor.judges import Verdict
from d4sensor.trails import Trails


class Search(NamedTuple):
    """A pattern and its key, and texts one of which is in every name where it is found."""

    texts: tuple[str, ...]
    pattern: re.Pattern[str]
    key: str


@lru_cache(maxsize=1)
def searches(trails: Trails) -> list[Search]:
    """The patterns of trails."""
    return [Search(needed(pattern.pattern), pattern, key) for pattern, key in trails.patterns]


def possible(names: Iterable[str], trails: Trails) -> list[Search]:
    """The patterns that may be found in one of many names.

    To look for a text in all of them at once costs a hundredth of searching each for the pattern.
    """
    if not trails.patterns:
        return []
    together = "\n".join(names)
    return [search for search in searches(trails) if any(text in together for text in search.texts)]


def of(name: str, some: list[Search], trails: Trails) -> Verdict | None:
    """The verdict on a name by the first of some patterns that is found in it."""
    for texts, pattern, key in some:
        if len(texts) == 1 and texts[0] not in name:
            continue
        match = pattern.search(name)
        trail = trails.get(key) if match else None
        if match and trail:
            before, after = name[: match.start()], name[match.end() :]
            prefix = f"({before[:-1]})." if before.endswith(".") else f"({before})" if before else ""
            return Verdict("DNS", prefix + match[0] + (f"({after})" if after else ""), trail)
    return None


def needed(pattern: str) -> tuple[str, ...]:
    """Texts, in lower case, one of which all matches of a regular expression have, as far as that is plain.

    Where nothing is plain it is the empty text.
    """
    tokens = _TOKEN.findall(pattern)
    return _NOTHING if any(map(_OBSCURE.match, tokens)) else _of_group(iter(tokens))


_NOTHING: tuple[str, ...] = ("",)

# The tokens of a regular expression: the beginning of a plain group, an escaped character, a set of
# characters, a repetition, a character.
_TOKEN = re.compile(r"\(\?:|\(\??|\\.|\[\^?\]?(?:\\.|[^]\\])*\]|\{[0-9,]*\}|.", re.DOTALL)
_LITERAL = re.compile(r"\\[^a-zA-Z0-9]|[^\\[\](){}*+?|^$.]", re.DOTALL)

# Other groups, and characters by their numbers.
_OBSCURE = re.compile(r"\(\?\Z|\\[^AbBdDsSwWZ\W]")


def _of_group(tokens: Iterator[str]) -> tuple[str, ...]:
    """The texts of what stands before the end of a group, or of the expression."""
    alternatives: list[tuple[str, ...]] = []
    parts, in_text = [_NOTHING], False
    for token in tokens:
        if token == ")":
            break
        if token == "|":
            alternatives.append(_best(parts))
            parts, in_text = [_NOTHING], False
        elif token[0] == "(":
            parts.append(_of_group(tokens))
            in_text = False
        elif token[0] in "*?{":
            # What is repeated may also not be there at all: a character, or the group before.
            parts[-1] = (parts[-1][0][:-1],) if in_text else _NOTHING
            in_text = False
        elif _LITERAL.fullmatch(token):
            text = parts.pop()[0] if in_text else ""
            parts.append((text + token[-1].lower(),))
            in_text = True
        else:
            parts.append(_NOTHING)
            in_text = False
    alternatives.append(_best(parts))
    texts = dict.fromkeys(text for some in alternatives for text in some)
    # Where a text contains another of them, that one is enough.
    return tuple(text for text in texts if not any(other in text for other in texts if other != text))


def _best(parts: list[tuple[str, ...]]) -> tuple[str, ...]:
    """Those texts of which the shortest is longest, and of these the fewest."""
    return max(parts, key=lambda texts: (min(map(len, texts)), -len(texts)))
