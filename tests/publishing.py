"""A web server over TLS that publishes feeds."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from conftest import Certificates


@dataclass
class Publisher:
    """What a server has at each path, and what it was asked: the header fields of each request."""

    url: str
    bodies: dict[str, bytes] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    cut_off: bool = False
    """Whether it breaks off in the middle of each body."""


@contextmanager
def publisher(certificates: Certificates) -> Iterator[Publisher]:
    """A server on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            publishing.asked.append((self.path, dict(self.headers)))
            etag = publishing.etags.get(self.path, "")
            if self.path in publishing.redirects:
                self.send_response(302)
                self.send_header("Location", publishing.redirects[self.path])
            elif self.path not in publishing.bodies:
                self.send_response(404)
            elif etag and self.headers["If-None-Match"] == etag:
                self.send_response(304)
            else:
                self._send(publishing.bodies[self.path], etag)
                return
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _send(self, body: bytes, etag: str) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Last-Modified", "Tue, 24 Nov 2026 12:00:00 GMT")
            if etag:
                self.send_header("ETag", etag)
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if publishing.cut_off else body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.certificate, certificates.key)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        publishing = Publisher(f"https://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield publishing
        finally:
            server.shutdown()
            thread.join()
