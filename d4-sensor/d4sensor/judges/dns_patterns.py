"""Trails that are patterns: regular expressions that are searched for in names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from d4sensor.judges import Verdict
from d4sensor.trails import Trails


class Search(NamedTuple):
    """A pattern and its key, and texts one of which is in every name where it is found."""

    texts: tuple[str, ...]
    pattern: re.Pattern[str]
    key: str


class Searches(NamedTuple):
    """The patterns of trails, and an expression that is found in every name where one of them is."""

    each: list[Search]
    any: re.Pattern[str]

    def texts(self) -> list[str]:
        """The texts one of which is in every name where a pattern is found."""
        return [text for search in self.each for text in search.texts]


@lru_cache(maxsize=1)
def searches(trails: Trails) -> Searches:
    """The patterns of trails."""
    each = [Search(needed(pattern.pattern), pattern, key) for pattern, key in trails.patterns]
    begins = {text[:_BEGIN] for search in each for text in search.texts}
    return Searches(each, re.compile(_one_of(begins)))


def of(name: str, trails: Trails) -> Verdict | None:
    """The verdict on a name by the first pattern that is found in it."""
    each, any_ = searches(trails)
    if not any_.search(name):
        return None
    for texts, pattern, key in each:
        if len(texts) == 1 and texts[0] not in name:
            continue
        match = pattern.search(name)
        trail = trails.get(key) if match else None
        if match and trail:
            before, after = name[: match.start()], name[match.end() :]
            prefix = f"({before[:-1]})." if before.endswith(".") else f"({before})" if before else ""
            return Verdict("DNS", prefix + match[0] + (f"({after})" if after else ""), trail)
    return None


# Characters of a text that are looked for first: those of a few names are enough to tell most from the rest.
_BEGIN = 8


def _one_of(texts: set[str]) -> str:
    """An expression that finds any of these texts, character by character as a tree, so that it is fast."""
    if not texts:
        return r"(?!)"
    if "" in texts:
        return ""
    by_first: dict[str, set[str]] = {}
    for text in texts:
        by_first.setdefault(text[0], set()).add(text[1:])
    branches = (re.escape(first) + _one_of(rest) for first, rest in by_first.items())
    return f"(?:{'|'.join(branches)})"


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
    """Those texts of which the shortest tells most, and of these the fewest."""
    return max(parts, key=lambda texts: (min(map(_tells, texts)), -len(texts)))


def _tells(text: str) -> int:
    """How much it tells that a text is in a name: the longer, the more, but many names are of the web."""
    return 1 if text == "www." else len(text)
