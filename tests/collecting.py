"""A maltrail-collector of its own for a test: the real process, its sockets, its page."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from d4common.event import Event
from demo.chain import PYTHON, Daemon, environment, free_port


def an_event(**fields: str | int) -> Event:
    """A sighting, just now, but for what ``fields`` say."""
    usual = {
        "sec": int(time.time()),
        "usec": 552881,
        "sensor": "vm",
        "src_ip": "10.0.0.5",
        "src_port": "4001",
        "dst_ip": "136.161.101.53",
        "dst_port": "443",
        "proto": "TCP",
        "type": "IP",
        "trail": "136.161.101.53",
        "info": "sinkhole conficker (malware)",
        "reference": "(static)",
    }
    return Event(**{**usual, **fields})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Answer:
    """What the web server said."""

    status: int
    headers: Message
    body: bytes


class Collector:
    """A maltrail-collector in ``directory``, on ports of its own, not yet started."""

    def __init__(self, directory: Path) -> None:
        self.udp_port = free_port(socket.SOCK_DGRAM)
        self.http_port = free_port()
        self.logs = directory / "log"
        self.state = directory / "state"
        self.logs.mkdir()
        self.state.mkdir()
        self.config = directory / "collector.conf"
        self.config.write_text(
            f"[udp]\nudp_port = {self.udp_port}\n"
            f"[web]\nhttp_port = {self.http_port}\nstate_dir = {self.state}\n"
            f"[log]\nlog_dir = {self.logs}\n"
        )
        self.base = [PYTHON, "-m", "maltrailcollector", "--config", str(self.config)]
        self.daemon = Daemon("collector", [*self.base, "run"], directory)

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def said(self) -> str:
        """What the daemon logged so far."""
        return self.daemon.log.read_text()

    def command(self, *arguments: str, input: str | None = None) -> str:
        """What a command prints; it must succeed."""
        return subprocess.run(
            [*self.base, *arguments],
            env=environment(),
            input=input,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    def password(self) -> str:
        """A new password, set while the daemon runs."""
        return self.command("password").strip()

    def send(self, *datagrams: bytes) -> None:
        """Sends datagrams to where events come in."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for datagram in datagrams:
                sender.sendto(datagram, ("127.0.0.1", self.udp_port))

    def logged(self) -> bytes:
        """All logs, one after another."""
        return b"".join(path.read_bytes() for path in sorted(self.logs.glob("*.log")))

    def ask(
        self, path: str, method: str = "GET", form: dict[str, str] | None = None, **headers: str
    ) -> Answer:
        """The answer to a request. An underscore in a header's name stands for a dash."""
        with self._response(path, method, form, headers) as response:
            return Answer(response.status, response.headers, response.read())

    @contextmanager
    def live(self, **headers: str) -> Iterator[Iterator[dict[str, Any]]]:
        """The messages of today's stream, as they come: their ids, and what their data holds."""
        with self._response("/live", "GET", None, headers) as response:
            assert response.headers["Content-Type"] == "text/event-stream"
            yield _messages(response)

    @contextmanager
    def _response(
        self, path: str, method: str, form: dict[str, str] | None, headers: dict[str, str]
    ) -> Iterator[http.client.HTTPResponse]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=30)) as connection:
            wanted = {name.replace("_", "-"): value for name, value in headers.items()}
            if form is not None:
                wanted["Content-Type"] = "application/x-www-form-urlencoded"
            connection.request(method, path, urlencode(form) if form else None, wanted)
            with connection.getresponse() as response:
                yield response

    def log_in(self, password: str) -> str:
        """The cookie of a new session."""
        answer = self.ask("/login", "POST", {"user": "admin", "password": password})
        assert (answer.status, answer.headers["Location"]) == (303, "/")
        return answer.headers["Set-Cookie"].partition(";")[0]


def basic(user: str, password: str) -> str:
    """The value of an Authorization header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _messages(response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    fields: dict[str, str] = {}
    for line in response:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            fields[name] = value
        elif "data" in fields:
            yield {"id": fields["id"], **json.loads(fields["data"])}
            fields = {}
