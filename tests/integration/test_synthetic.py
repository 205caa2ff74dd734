"""Streams that no client should send, played to a running d4-server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from serving import Server
from synthetic import CORPUS, KEY, SENSOR, SYNTHETIC
from waiting import wait_for

from d4common import metrics
from d4common.records import partition, stream
from d4common.sender import Identity
from d4common.session import Reason

TYPES = ("1", "8", "maltrail")


class Played(Server):
    """A d4-server with the sensor that the streams are of."""

    def stored(self) -> dict[str, bytes]:
        """What it has stored, by type."""
        found = {type: b"".join(self.entries(SENSOR, type)) for type in TYPES}
        return {type: data for type, data in found.items() if data}

    def refused(self) -> dict[str, float]:
        """How many connections it has refused, by reason."""
        found = metrics.fetch(self.config.parent / "metrics.sock")["d4_refused_connections_total"]
        return {labels["reason"]: value for labels, value in found if value}

    def forget(self) -> None:
        """Has nothing stored."""
        self.redis.delete(*(stream(type, partition(SENSOR)) for type in TYPES))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, redis_server: Path) -> Iterator[Played]:
    """It runs for all streams."""
    server = Played(tmp_path_factory.mktemp("server"), redis_server)
    server.redis.flushall()
    server.let_in(Identity(SENSOR, KEY))
    server.daemon.start()
    yield server
    server.daemon.stop()
    server.redis.close()
    assert "Traceback" not in server.log()


@pytest.mark.parametrize("name", SYNTHETIC)
def test_what_is_good_of_a_stream_is_stored_and_the_rest_refused(running: Played, name: str) -> None:
    synthetic = SYNTHETIC[name]
    for played in synthetic.streams(name):
        running.forget()
        before = running.refused()
        play(running, played)
        wait_for(lambda played=played: running.stored() == synthetic.stored(played))
        wanted = {synthetic.reason: before.get(synthetic.reason, 0) + 1} if synthetic.reason else {}
        wait_for(lambda wanted=before | wanted: running.refused() == wanted)


def play(server: Server, stream: bytes) -> None:
    """Sends a stream; returns when the server has closed."""
    with server.connect() as connection, suppress(OSError):  # it may have done so before all is sent
        connection.sendall(stream)
        connection.unwrap()


def test_the_corpus_has_no_stream_that_is_not_played() -> None:
    assert {path.stem for path in (CORPUS / "synthetic").glob("*.d4")} <= set(SYNTHETIC)
    assert {each.reason for each in SYNTHETIC.values()} > {Reason.HMAC, Reason.SIZE, None}
