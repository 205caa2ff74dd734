"""User-Agents of scanners, bots and malware."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from d4sensor.judges import user_agents
from d4sensor.judges.user_agents import UserAgents, load
from d4sensor.trails import TrailError

PATTERNS = ("sqlmap", "Nikto", r"\Aevil\b", r"bot (?:scan|search)", "Mozilla/4.7", "map/1")


def text(agent: str) -> str | None:
    """The text of the verdict on a User-Agent."""
    verdict = UserAgents(PATTERNS).judge(agent)
    return verdict.text if verdict else None


@pytest.mark.parametrize(
    ("agent", "expected"),
    [
        ("sqlmap", "sqlmap"),
        ("sqlmap/2.0", "sqlmap(/2.0)"),
        ("SQLMAP/2.0", "SQLMAP(/2.0)"),
        ("my sqlmap", "(my )sqlmap"),
        ("a nikto b", "nikto (a nikto b)"),
        ("sqlmap/2 (https://x.tld)", r"sqlmap(/2 \(https://x.tld\))"),
        ("sqlmap%2F2", "sqlmap(/2)"),
        ("sqlmap/1.5", "sqlmap(/1.5)"),
        ("nikto sqlmap", "nikto( sqlmap)"),
        ("Mozilla/4.7", "Mozilla/4.7"),
        ("Mozilla/4x7", None),
        ("evil one", "evil( one)"),
        ("no evil", None),
        ("evilish", None),
        ("my bot search", "(my )bot search"),
        ("my bot", None),
        ("", None),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", None),
        ("Sophos sqlmap", None),
        ("Microsoft-CryptoAPI/10.0 sqlmap", None),
        ("Apache (internal dummy connection) nikto", None),
    ],
)
def test_texts(agent: str, expected: str | None) -> None:
    assert text(agent) == expected


def test_verdict_is_as_maltrail_has_it() -> None:
    verdict = UserAgents(PATTERNS).judge("sqlmap/2.0")
    assert verdict and (verdict.type, *verdict.trail[:2]) == ("UA", "user agent (suspicious)", "(heuristic)")


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_agents, "CACHE", 10)
    agents = UserAgents(PATTERNS)
    for number in range(100):
        assert agents.judge(f"sqlmap{number}")
        assert agents.judge(f"Firefox/{number}") is None
    assert len(agents._known) <= 10


def test_long_agent_takes_no_longer_than_a_short_one() -> None:
    # A pattern that tries every character as the beginning, and then all behind it.
    agents = UserAgents([r"a[^c]*c"])
    start = time.process_time()
    assert agents.judge("a" * 1_000_000) is None
    assert time.process_time() - start < 1


def test_what_is_no_pattern_is_passed_over() -> None:
    assert UserAgents(["(", "sqlmap", "[[a]"]).judge("sqlmap")


def test_load(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("# comment\n\nsqlmap\n\\Abeta\n(\n")
    (tmp_path / "a.txt").write_text("nikto\nsqlmap\n")
    (tmp_path / "c.csv").write_text("other\n")
    patterns, problems = load([str(tmp_path)])
    assert patterns == ("nikto", "sqlmap", r"\Abeta")
    assert [(problem.path, problem.line) for problem in problems] == [(str(tmp_path / "b.txt"), 5)]
    assert load([str(tmp_path / "c.csv")])[0] == ("other",)


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TrailError, match="none.txt"):
        load([str(tmp_path / "none.txt")])


def test_list_that_is_shipped() -> None:
    shipped = Path(__file__).parents[4] / "d4-sensor/user-agents"
    patterns, problems = load([str(shipped)])
    assert not problems
    agents = UserAgents(patterns)
    for bad in (
        "sqlmap/1.8.2#stable (https://sqlmap.org)",
        "Mozilla/5.00 (Nikto/2.5.0) (Evasions:None) (Test:Port Check)",
        "Nuclei - Open-source project (github.com/projectdiscovery/nuclei)",
        "masscan/1.3 (https://github.com/robertdavidgraham/masscan)",
        "Mozilla/5.0 zgrab/0.x",
        "Mozilla/5.0 (compatible; Nmap Scripting Engine; https://nmap.org/book/nse.html)",
        "gobuster/3.6",
        "WPScan v3.8.25 (https://wpscan.com/wordpress-security-scanner)",
        "Hello, world",
        "() { :; }; /bin/ping",
    ):
        assert agents.judge(bad), bad
    for good in (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML) Chrome/126.0 Safari/537.36",
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "curl/7.88.1",
        "Debian APT-HTTP/1.3 (2.6.1)",
        "python-requests/2.31.0",
    ):
        assert agents.judge(good) is None, good
