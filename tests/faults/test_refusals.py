"""What is not as it should be is said by the process that sees it, with what to do, and costs no event.

In the middle of the events something becomes wrong, is found in the log, and is put right again.
"""

from __future__ import annotations

import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from faults.chain import Chain
from faults.impostor import Impostor, acknowledging, saying

from d4common.delivery import UNANSWERED
from d4common.session import ALPN_ACK
from d4sensor import identity
from d4server import certificates, sensors
from demo.chain import Failed

EVENTS = 12_000
"""Enough for some to be at each stage while something is wrong."""

HTTP = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.fixture
def chain() -> Iterator[Chain]:
    """A chain through which some events have gone; what is done to it in a test loses and doubles none."""
    with Chain(events=EVENTS) as chain:
        chain.flow(EVENTS // 5)
        yield chain
        row = chain.finish()
        assert row.faultless, row


def test_a_wrong_key(chain: Chain) -> None:
    right = chain.identity.read_text()
    identity.replace(chain.identity, chain.uuid, "another key")
    chain.source.stop()
    chain.source.start()
    chain.says(chain.source, UNANSWERED)
    chain.says(chain.server.daemon, "the HMAC does not match this sensor's key")
    chain.identity.write_text(right)
    chain.source.stop()
    chain.source.start()


def test_a_revoked_sensor(chain: Chain) -> None:
    chain.server.command("sensors", "revoke", str(chain.uuid))
    chain.proxy.cut()
    chain.says(chain.source, UNANSWERED)
    chain.says(chain.server.daemon, "or a revoked one; `d4-server sensors list` shows which")
    chain.server.command("sensors", "remove", str(chain.uuid))
    chain.server.let_in(sensors.read_identity(chain.identity))


@pytest.mark.parametrize(
    ("seq", "key", "words"),
    [
        (1 << 40, None, "acknowledges packets up to 1099511627776, but"),
        (1, b"another key", "the server's answer is not signed with this sensor's key"),
    ],
    ids=["beyond what was sent", "wrong key"],
)
def test_a_bad_acknowledgement(chain: Chain, seq: int, key: bytes | None, words: str) -> None:
    known = sensors.read_identity(chain.identity)
    with Impostor(acknowledging(known, seq, key or known.key), chain.server_context((ALPN_ACK,))) as impostor:
        chain.proxy.lead_to(impostor.port)
        chain.says(chain.source, words)
        chain.says(chain.source, "nothing was taken out of the spool for it")
        chain.proxy.lead_to(chain.server.port)


@pytest.mark.parametrize(
    ("alpn", "words"),
    [
        ((), "it is no D4 server, which says nothing, but b'HTTP/1.1 400"),
        ((ALPN_ACK,), "it does not speak d4-ack/1; nothing was taken out of the spool for it"),
        (None, "no TLS with it: "),
    ],
    ids=["TLS", "TLS and d4-ack/1", "no TLS"],
)
def test_something_else_than_d4(chain: Chain, alpn: tuple[str, ...] | None, words: str) -> None:
    context = None if alpn is None else chain.server_context(alpn)
    with Impostor(saying(HTTP), context) as impostor:
        chain.proxy.lead_to(impostor.port)
        chain.says(chain.source, words)
        chain.proxy.lead_to(chain.server.port)


def test_an_expired_certificate(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = chain.server.ca.parent
    with monkeypatch.context() as patch:
        patch.setattr(certificates, "LIFE", timedelta(seconds=-1))
        (directory / "tls" / "server.pem").unlink()
        certificates.ensure(directory, [])
    reload(chain)
    chain.says(chain.source, "certificate has expired; the server needs a new one")
    certificates.ensure(directory, [])
    reload(chain)


def test_a_foreign_certificate(chain: Chain) -> None:
    directory, foreign = chain.server.ca.parent, chain.directory / "foreign"
    certificates.ensure(foreign, [])
    for name in ("server.pem", "server.key"):
        shutil.copy(foreign / "tls" / name, directory / "tls" / name)
    reload(chain)
    chain.says(chain.source, "; [d4] ca must be the CA that signed it")
    certificates.ensure(directory, [])
    reload(chain)


def reload(chain: Chain) -> None:
    """Has the server take its certificate anew, and shows it to the sensor."""
    before = chain.server.log().count("Reloaded")
    assert chain.server.daemon.process is not None
    chain.server.daemon.process.send_signal(signal.SIGHUP)
    chain.says(chain.server.daemon, "Reloaded", before + 1)
    chain.proxy.cut()


def test_a_spool_of_a_newer_version(chain: Chain) -> None:
    """The sensor does not start, and leaves the file as it is."""
    path = chain.directory / "spool" / "numbered" / "source.db"
    chain.source.stop()
    made = layout(path, 99)
    before = path.read_bytes()
    with pytest.raises(Failed, match="has layout 99, .* a later d4-sensor made it; install that one again"):
        chain.source.start()
    assert path.read_bytes() == before
    layout(path, made)
    chain.source.start()


def layout(path: Path, number: int) -> int:
    """Gives a spool another layout, and returns that which it had."""
    with closing(sqlite3.connect(path)) as spool:
        (had,) = spool.execute("PRAGMA user_version").fetchone()
        spool.execute(f"PRAGMA user_version = {number}")
        return int(had)
