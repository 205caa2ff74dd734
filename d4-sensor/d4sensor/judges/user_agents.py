"""User-Agents of scanners, bots and malware, by patterns that a text file lists.

A line is a pattern. With none of the special characters of regular expressions it is a word, and so is one
whose only special character is the dot; otherwise it is an expression. Both are looked for anywhere in the
User-Agent, in any case. Lines that begin with ``#`` are comments. Maltrail's ``ua.txt`` is such a file.
"""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote

from d4sensor import heuristics
from d4sensor.judges import Verdict
from d4sensor.sources import Problem, text_of

CACHE = 10_000
"""User-Agents whose verdict is remembered."""

MAX_AGENT = 512
"""Characters of a User-Agent that are looked at; patterns that others wrote need not be linear."""


class UserAgents:
    """Judges User-Agents by patterns, and remembers its verdicts. What is no pattern is passed over."""

    def __init__(self, patterns: Iterable[str]) -> None:
        patterns = tuple(patterns)
        self._words = [pattern.lower() for pattern in patterns if not _SPECIAL.search(pattern)]
        self._expressions = []
        for pattern in filter(_SPECIAL.search, patterns):
            with contextlib.suppress(*_WRONG):
                self._expressions.append(_compiled(pattern))
        self._known: dict[str, Verdict | None] = {"": None}

    def judge(self, agent: str) -> Verdict | None:
        """The verdict on the value of a User-Agent field."""
        if agent in self._known:
            return self._known[agent]
        if len(self._known) >= CACHE:
            self._known.clear()
        verdict = self._known[agent] = self._of(unquote(agent).strip()[:MAX_AGENT])
        return verdict

    def _of(self, agent: str) -> Verdict | None:
        lower = agent.lower()
        if any(word in lower for word in _HARMLESS):
            return None
        # The one that begins first, and of these the longest.
        start, end = min(self._matches(agent, lower), default=(0, 0), key=lambda span: (span[0], -span[1]))
        return Verdict("UA", _marked(agent, start, end), _TRAIL) if end else None

    def _matches(self, agent: str, lower: str) -> Iterator[tuple[int, int]]:
        """Where the patterns match, with one character at least."""
        for word in self._words:
            if word in lower:
                start = lower.index(word)
                yield start, start + len(word)
        for expression in self._expressions:
            match = expression.search(agent)
            if match and match[0]:
                yield match.span()


def load(paths: Iterable[str]) -> tuple[tuple[str, ...], list[Problem]]:
    """The patterns in files, and in the ``.txt`` files of directories, and the lines that hold none.

    Raises TrailError for a file that cannot be read.
    """
    patterns: dict[str, None] = {}
    problems: list[Problem] = []
    for path in map(Path, paths):
        for file in sorted(path.glob("*.txt")) if path.is_dir() else [path]:
            for number, line in enumerate(text_of(file).splitlines(), 1):
                if not line.strip() or line.startswith("#"):
                    continue
                try:
                    _compiled(line)
                    patterns[line] = None
                except _WRONG as error:
                    problems.append(Problem(str(file), number, f"{line!r} is no pattern: {error}"))
    return tuple(patterns), problems


_TRAIL = heuristics.trail("user agent (suspicious)")
_WRONG = (re.error, RecursionError, OverflowError)
_SPECIAL = re.compile(r"[][(){}?*+^$|\\]")

# Programs that look for viruses, and what servers and systems ask of themselves.
_HARMLESS = ("antivir-ngupd", "avgsetup", "sdds", "sophos", "symantec", "tmsps") + (
    "internal dummy connection",
    "microsoft-cryptoapi",
)


def _compiled(pattern: str) -> re.Pattern[str]:
    """The expression that a pattern is. Raises one of _WRONG."""
    with warnings.catch_warnings():
        # Of what later versions of Python may read in another way, this one knows what it means.
        warnings.simplefilter("ignore")
        return re.compile(pattern, re.IGNORECASE)


def _marked(agent: str, start: int, end: int) -> str:
    """A User-Agent with what did not match in parentheses, as Maltrail writes it.

    Where something is left on both sides, it is the match, and then the whole in parentheses.
    """
    before, match, after = (_escaped(part) for part in (agent[:start], agent[start:end], agent[end:]))
    if before and after:
        return f"{match} ({_escaped(agent)})"
    return (f"({before})" if before else "") + match + (f"({after})" if after else "")


def _escaped(text: str) -> str:
    return text.rstrip("\\").replace("(", "\\(").replace(")", "\\)")
