"""What is said of a connection that failed."""

from __future__ import annotations

import ssl

import pytest

from d4common.connection import explain
from d4common.socks import ProxyError


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (TimeoutError(), "no answer in 15 s"),
        (TimeoutError(110, "Connection timed out"), "Connection timed out"),
        (OSError("Multiple exceptions: x"), "Multiple exceptions: x"),
        (ConnectionResetError(), "it closed the connection"),
        (ProxyError("proxy x:1080: connection refused"), "proxy x:1080: connection refused"),
        (ssl.SSLError(1, "[SSL: WRONG] wrong"), "no TLS with it: [SSL: WRONG] wrong; is that a D4 server?"),
    ],
)
def test_failure_is_explained_in_words(error: OSError, words: str) -> None:
    assert explain(error).startswith(words)
