"""Attacks on web applications, by what the targets and bodies of requests have in them.

Every expression takes a time that grows no faster than the text: repetitions are bounded, or end where
the next thing begins. The text is decoded, in lower case, and has no comments of SQL in it any more.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote

DATA_LEAKAGE = "potential data leakage"

MAX_JUDGED = 4096
"""Characters of a target or a body that are looked at."""


def of(text: str, query: bool = False) -> str:
    """What attack a target or a body shows, as the info of an event has it; empty if none.

    In what is a query throughout, and in a target behind the question mark, a plus is a space.
    """
    if not query and _is_plain(text):
        return ""
    text = _decoded(text[:MAX_JUDGED], query)
    attacks: tuple[_Attack, ...]
    if _MARK.search(text):
        attacks = _ATTACKS
    elif _WORD.search(text):
        attacks = _UNMARKED
    else:
        return ""
    return next((attack.info for attack in attacks if attack.expression.search(text)), "")


def suspected(targets: Sequence[str]) -> set[int]:
    """The places of those among many targets, none with a line's end, of which ``of`` has to be asked.

    What is searched for in all of them at once is not searched for in each.
    """
    together = "\n".join(targets)
    queries = "\n".join(target for target in targets if "?" in target)
    signs = set(together.translate(_WITHOUT_ORDINARY))
    signs.update(word for word in _WORDS_OF_PAGES if word in together)
    signs.update(word for word in _WORDS if word in queries)
    if not signs:
        return set()
    return {n for n, target in enumerate(targets) if any(sign in target for sign in signs)}


def is_code_execution(text: str) -> bool:
    """Whether a target would have a server run something."""
    return _CODE_EXECUTION.search(_decoded(text[:MAX_JUDGED], False)) is not None


class _Attack(NamedTuple):
    """A class of attacks; those that are ``marked`` cannot do without one of the characters of _MARK."""

    info: str
    marked: bool
    expression: re.Pattern[str]


def _is_plain(target: str) -> bool:
    """Whether a target has nothing that an attack could not do without: the commonest, so told first."""
    for word in ("?", "%", *_WORDS_OF_PAGES):
        if word in target:
            return False
    return not _MARK.search(target)


# What no attack that is marked can do without, and ordinary targets have not.
_MARK = re.compile(r"[^\w/?=&.:,%+@~!#-]")

# For str.translate(): marks remain, and what they may be encoded by.
_WITHOUT_ORDINARY = dict.fromkeys(map(ord, f"{string.ascii_letters}{string.digits}_/?=&.:,@~!#-\n"))

# Without a mark and a question mark, no attack can do without one of these.
_WORDS_OF_PAGES = ("..", "/.", "wp-config")


def _any_of(words: tuple[str, ...]) -> re.Pattern[str]:
    """An expression for any of some words; where none can begin, it goes on after one comparison a letter."""
    rest: dict[str, list[str]] = {}
    for word in words:
        rest.setdefault(word[0], []).append(re.escape(word[1:]))
    return re.compile("|".join(f"{re.escape(first)}(?:{'|'.join(words)})" for first, words in rest.items()))


# Without a mark, no attack can do without one of these.
_WORDS = (
    ("..", "/.", ":", "@", "%sys", ".hta", ".htg", ".htp", ".ini", "/bin/", "/etc/", "/proc/", "/sbin/")
    + ("acunetix", "allow_url", "appscan", "auto_prep", "bxss.", "burpcoll", "call_user", "cmd.exe", "cmd/")
    + ("dns", "domainserver", "getruntime", "iccid=", "imei=", "imsi=", "inexistent", "interact.sh")
    + ("invokefunc", "ipconfig/", "mac=", "macaddr", "mac_addr", "ms-msdt", "muieblack", "netsparker")
    + ("nltest/", "oast", "owasp", "processbuilder", "putfile", "safe_mode", "shell_exec", "sid=", "sim=")
    + ("somecustominj", "system32", "thishouldnot", "vega", "vulnweb", "w00tw00t", "wp-config", "wvs")
    + ("xp_cmdshell",)
)
_WORD = _any_of(_WORDS)

_COMMENT = re.compile(r"/\*[^*]{0,80}\*/")


def _decoded(text: str, query: bool) -> str:
    """A text as the program on the server sees it, in lower case."""
    if query:
        text = text.replace("+", " ")
    elif "+" in text:
        path, mark, rest = text.partition("?")
        text = path + mark + rest.replace("+", " ")
    # What filters in front of a server let through is often encoded twice.
    for _ in range(2):
        if "%" in text:
            text = unquote(text)
    text = text.lower()
    return _COMMENT.sub(" ", text) if "/*" in text else text


# One white space or more, as far as an attacker needs them.
_S = r"[\s(]{1,20}"

_SQL = (
    rf"\bunion{_S}(?:(?:all|distinct){_S})?select\b",
    rf"\bselect{_S}(?:\*|@@|\w{{1,60}}\(|[\w.`\"]{{1,60}}\s?,|\w{{1,60}}\s{{1,9}}from\s{{1,9}}\w)",
    rf"\b(?:and|or|xor|having|where|not){_S}['\"]?\d{{1,20}}['\")\s]{{0,9}}[=<>][=<>\s('\"]{{0,9}}\d",
    r"['\"][)\s]{0,9}(?:and|or|xor|\|\||&&)[\s(]{0,9}['\"]?\w{0,40}['\")\s]{0,9}(?:=|like\s{1,9}['\"])",
    r"\b(?:information_schema|sysobjects|sysdatabases|syscolumns|sysusers|sqlite_master|pg_catalog)\b",
    r"\b(?:sleep|pg_sleep|benchmark|extractvalue|updatexml|load_file|group_concat|randomblob)\s?\(",
    r"\b(?:convert|n?varchar|xmltype|count)\((?:int|\*|\d)|\bfloor\(rand\(|\bn?cha?r\(\d{1,3}\)[|+,]",
    r"\bwaitfor\s{1,9}delay\b|\border\s{1,9}by\s{1,9}\d|\binto\s{1,9}(?:out|dump)file\b",
    rf"\bcase{_S}when\b[^&]{{0,80}}\bthen\b|;\s{{0,9}}(?:drop|alter|truncate|create){_S}(?:table|database|user)\b",
    rf";\s{{0,9}}(?:insert{_S}into|delete{_S}from|declare{_S}@|exec(?:ute)?{_S}(?:xp_|sp_|'|@))",
)
_XML = (r"/text\(\)\s?=", r"\bname\(\)\s?=", r"\bstring-length\(\s?/", r"'\s?\]\s?\|\s?/")
_PHP = (r"<\?(?:php\b|=)", r"\bphp://(?:input|filter)", r"\b(?:expect|phar)://", r"\bdata://text/")
_LDAP = (r"\([&|!]\s?\(\w{1,40}[~<>]?=", r"\*\)\s?\(\s?[&|!(]?\w{1,40}=", r"\)\s?\(\s?[&|]\s?\)")
_XSS = (
    r"<script\b",
    r"<(?:img|svg|iframe|body|object|embed|video|audio|details|input|marquee)[\s/][^<>]{0,80}\bon\w{3,20}\s?=",
    r"\bon(?:error|load|focus|blur|click|toggle|mouse\w{2,5}|pointer\w{2,5}|transitionend)\s?=[^&\s]{1,80}[(`]",
    r"\b(?:alert|confirm|prompt)\s?[(`]\s?(?:['\"/]?\w{0,9}xss|\d|document\.|window\.|location\b|['\"`])",
    r"\bjavascript:\s?(?:\w{1,20}\(|//|%0a)",
    r"\bdocument\.cookie\b|\bstring\.fromcharcode\(",
)
_XXE = (r"<!entity\b", r"<!doctype\s[^<>\[]{0,80}(?:\[|\bsystem\b)", r"<xi:include\b")
_SSTI = (
    r"[$#]\{[^{}&*()'\":+]{0,80}[*()'\":+]",
    r"\{\{[^{}&*()'\"+]{0,80}(?:[*()'\"+]|__\w)",
    r"<%=?\s?[^%&*(]{0,80}[*(]",
    r"\{%\s?(?:import|for|set|if|include|debug)\b",
)
_LEAK = (
    r"\bim[es]i=\d{15}\b",
    r"\biccid=\w{18,22}\b",
    r"\bsim=\d{19,20}\b",
    r"\b(?:mac|sid)(?:_?addr(?:ess)?)?=[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5}\b",
    r"(?:@[a-z0-9-]{1,63}\.[a-z][^@]{1,150}){3}@[a-z0-9-]{1,63}\.[a-z]",  # four addresses of mail
)
_CONFIG = (
    r"\.ht(?:access|passwd|group)\b",
    r"\bwp-config\.(?:php|bak|old|txt)",
    r"/\.(?:env|npmrc|pgpass|netrc)(?![\w-])",
    r"/\.git/(?:config|head)\b|/\.svn/(?:entries|wc\.db)\b",
    r"/\.aws/credentials\b|/\.ssh/(?:id_|authorized_keys)",
)
_CODE = (
    r"\$_(?:get|post|request|cookie|server|files)\s?\[",
    r"\bxp_cmdshell\b|\bshell_exec\b|\b(?:passthru|proc_open|popen)\s?\(",
    r"\b(?:system|exec|eval|assert)\s?\(\s?['\"$\w]{1,40}",
    r"\bgetruntime\(\)|\bprocessbuilder\b|\bjndi:\w{2,5}:|\bms-msdt:|\bcall_user_func",
    r"\b(?:allow_url_include|auto_prepend_file|safe_mode)\s?=|\binvokefunction\b",
    r"\bcmd(?:\.exe|\s?/[ck])\b|\bpowershell(?:\.exe)?\s{1,9}-",
    r"/bin/(?:ba|da|z|c|k|tc)?sh\b|/bin/busybox\b|/sbin/launchd\b",
    r"\b(?:wget|curl|tftp)\s{1,9}(?:-\w|[\w.:]{0,60}//|\d{1,3}\.\d)",
    r"\bchmod\s{1,9}(?:[augo]{0,4}\+\w{0,3}x|[0-7]{3,4})\b|\bbase64\s{1,9}-d|\btouch\s{1,9}/tmp/|\bsh\s{1,9}/tmp/",
    r"2>&1|>\s?/dev/null|\bnc\s{1,9}-\w{0,5}[elp]|\bping(?:\.exe)?\s{1,9}-[cinw]\s?\d",
    r"\b(?:cat|ls|head|rm)\s{1,9}(?:-\w{1,5}\s{1,9})?[/~]\w",
    r"[;|`]\s?(?:id|whoami|uname|ls|cat|pwd|wget|curl|ping|nslookup|sleep|bash)"
    r"(?:\s{0,9}\Z|\s?[;|`&#]|\s{1,9}[-/.~$<>\d'\"])",
    r"\$\((?:id|whoami|uname|ls|cat|wget|curl|ping|nslookup|sleep|bash|sh)\b",
    r"\$\{?ifs\b|\(\)\s?\{\s?:|[%$]\{\s?\(?#",
    r"\bipconfig\s?/|\bnet\s{1,9}(?:config|view|localgroup)\b|\bnetsh\s{1,9}(?:adv)?firewall\b|\bnltest\s?/",
)
_TRAVERSAL = (
    r"(?:\.{2,4}[/\\]{1,4}(?!(?:images|themes|design|scripts|assets|core|js)/)){3}",
    r"\.\.;/",
    r"/etc/(?:passwd|shadow|group|hosts|hostname|issue|sudoers|crontab)\b|/proc/(?:self|\d{1,7})/",
    r"[/\\](?:boot|system|win)\.ini\b|[/\\]system32[/\\]|%systemroot%",
)
_SCAN = (
    r"\b(?:acunetix|injected_by)_wvs_|\bacunetix-wvs-|\bwww\.acunetix\.tst\b|\btestasp\.vulnweb\.com\b",
    r"\.bxss\.me\b|\.burpcollaborator\.net\b|\.oastify\.com\b|\.oast\.(?:fun|live|me|online|pro|site)\b",
    r"\binteract\.sh\b|\bsome_inexistent_file_with_long_name\b|\bthishouldnotexistandhopefullyitwillnot\b",
    r"\bsomecustominjectedheader\b|\bvega-inject\b|\bvega\.invalid\b|\bowasp\W{1,3}zap\b",
    r"\bw00tw00t\b|\bmuieblackcat\b|\bput-putfile\b|\bnetsparker\d?\b|\bappscanheader\b",
)
_DNS_CHANGER = (r"(?:\A|[?&;])[\w\[\]]{0,30}(?:dns|domainserver)[\w\[\]]{0,30}=\s?\d{1,3}(?:\.\d{1,3}){3}\b",)

_CODE_EXECUTION = re.compile("|".join(_CODE))


def _attack(info: str, marked: bool, alternatives: tuple[str, ...]) -> _Attack:
    return _Attack(info, marked, re.compile("|".join(alternatives)))


# In order: the first that is found is told.
_ATTACKS = (
    _attack("potential sql injection", True, _SQL),
    _attack("potential xml injection", True, _XML),
    _attack("potential php injection", False, _PHP),
    _attack("potential ldap injection", True, _LDAP),
    _attack("potential xss injection", True, _XSS),
    _attack("potential xxe injection", True, _XXE),
    _attack("potential ssti injection", True, _SSTI),
    _attack(DATA_LEAKAGE, False, _LEAK),
    _attack("config file access", False, _CONFIG),
    _attack("potential remote code execution", False, _CODE),
    _attack("potential directory traversal", False, _TRAVERSAL),
    _attack("potential web scan", False, _SCAN),
    _attack("potential dns changer", False, _DNS_CHANGER),
)
_UNMARKED = tuple(attack for attack in _ATTACKS if not attack.marked)
