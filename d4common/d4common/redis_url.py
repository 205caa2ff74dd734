"""Where Redis is: one, the master that Sentinels know, or a Cluster; and the password for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from d4common import config
from d4common.config import ConfigError, Endpoint, option

CREDENTIAL = "redis-password"
"""The credential (systemd.exec(5), LoadCredential=) that takes the place of password_file."""

PORT = 6379
SENTINEL_PORT = 26379

FORMS = (
    "unix:///PATH, redis://HOST:PORT/DB, redis+sentinel://HOST:PORT,HOST:PORT/MASTER/DB "
    "or redis+cluster://HOST:PORT,HOST:PORT (rediss instead of redis is TLS)"
)


@dataclass(frozen=True)
class RedisURL:
    """A URL in its parts. ``str()`` is what may be shown: the URL without its password.

    ``scheme`` is unix, redis, redis+sentinel or redis+cluster; with ``tls`` all that is spoken to speaks TLS.
    ``endpoints`` are the Redis, the Sentinels, or some nodes of the Cluster, which name the others; none
    where there is a ``path``.
    """

    scheme: str
    tls: bool = False
    endpoints: tuple[Endpoint, ...] = ()
    path: str = ""
    master: str = ""
    db: int = 0
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    shown: str = field(default="", compare=False)

    def __str__(self) -> str:
        return self.shown


_URL = re.compile(
    r"(?P<scheme>unix|redis(?P<tls>s)?(?P<kind>\+sentinel|\+cluster)?)://"
    r"(?:(?P<user>[^:@/\s]*)(?P<secret>:[^@/\s]*)?@)?(?P<rest>\S+)"
)
_PLACE = {
    "unix": r"(?P<path>/[^\s?]+)(?:\?db=(?P<db>[0-9]{1,3}))?",
    "redis": r"(?P<hosts>[^@/,?\s]+)(?:/(?P<db>[0-9]{1,3}))?",
    "redis+sentinel": r"(?P<hosts>[^@/?\s]+)/(?P<master>[^@/?\s]+)(?:/(?P<db>[0-9]{1,3}))?",
    "redis+cluster": r"(?P<hosts>[^@/?\s]+)",
}


def parse(value: str) -> RedisURL:
    """Takes a URL apart. In user name and password other signs than letters may stand as %XX.

    A Cluster has no databases, and Sentinels are told the name of the master that they watch.
    """
    wanted = f"must be {FORMS}"
    match = _URL.fullmatch(value)
    scheme = match["scheme"].replace("rediss", "redis") if match else ""
    place = re.fullmatch(_PLACE[scheme], match["rest"]) if match else None
    if match is None or place is None:
        raise ValueError(wanted)
    parts = place.groupdict()
    endpoint = config.endpoint(SENTINEL_PORT if scheme == "redis+sentinel" else PORT)
    try:
        hosts = tuple(map(endpoint, parts["hosts"].split(","))) if "hosts" in parts else ()
    except ValueError as error:
        raise ValueError(f"{wanted}: {parts['hosts']} {error}") from None
    return RedisURL(
        scheme,
        bool(match["tls"]),
        hosts,
        parts.get("path") or "",
        parts.get("master") or "",
        int(parts.get("db") or 0),
        unquote(match["user"]) if match["user"] else None,
        unquote(match["secret"][1:]) if match["secret"] else None,
        without_password(value),
    )


def without_password(value: str) -> str:
    """A text that may be a URL, without what may be a password in it."""
    return re.sub(r"^([^:]*://[^:@]*|(?![^:]*://)[^:]*):.*@", r"\1:…@", value, flags=re.DOTALL)


@dataclass(frozen=True)
class RedisSection:
    """[redis]: where records are stored."""

    url: RedisURL = option(
        parse,
        "unix:///run/redis-d4/redis-server.sock",
        "unix:///PATH, redis://HOST:PORT/DB, redis+sentinel://HOST,HOST/MASTER or redis+cluster://HOST,HOST; "
        "rediss is TLS.",
        mask=without_password,
    )
    password_file: Path | None = option(
        config.path, None, "File whose first line is the password for Redis, if it is not in url."
    )

    def problems(self) -> Iterator[str]:
        """One password is enough."""
        if self.password_file and self.url.password is not None:
            yield "url has a password, and there is a password_file; one of them must go"

    def password(self) -> str | None:
        """The password, or None where there is none. Raises ConfigError where its file cannot be read.

        It is that of the URL; or what systemd handed over (LoadCredential=redis-password:…), or what
        password_file holds.
        """
        if self.url.password is not None:
            return self.url.password
        path = config.credential(CREDENTIAL) or self.password_file
        if path is None:
            return None
        try:
            return path.read_text(encoding="utf-8").partition("\n")[0].strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
            raise ConfigError([f"{path}: [redis] password_file cannot be read: {reason}"]) from None
