"""What an operator sees of a running d4-server: metrics, statistics, `status`, `sensors list`."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import time
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import trustme
from acknowledging import Acknowledged
from serving import META, Server, closed, end, packet
from waiting import wait_for

from d4common import metrics, redis_client
from d4common.metrics import Samples
from d4common.records import partition
from d4server import statistics
from d4server.statistics import Day, Statistics, Volume
from demo.chain import Daemon


@pytest.fixture
def sooner() -> dict[str, float]:
    """Looks into Redis and writes to it every half second, not every ten and fifteen."""
    return {"d4server.daemon.STATISTICS_INTERVAL": 0.5, "d4server.figures.LOOK_INTERVAL": 0.5}


def scrape(server: Server) -> Samples:
    """What the server's metrics say."""
    return metrics.fetch(server.config.parent / "metrics.sock")


def value(samples: Samples, name: str, **labels: str) -> float:
    """One of them."""
    [found] = [value for own, value in samples[name] if own == labels]
    return found


def day(server: Server) -> Day:
    """What Redis has of today, over all sensors."""

    async def read() -> Day:
        redis = redis_client.connect(f"unix://{server.redis_path}")
        try:
            return await statistics.totals(redis)
        finally:
            await redis_client.close(redis)

    return asyncio.run(read())


def count(server: Server, uuid: UUID, packets: int) -> None:
    """Adds what a server would have counted."""

    async def write() -> None:
        redis = redis_client.connect(f"unix://{server.redis_path}")
        counted = Statistics()
        for _ in range(packets):
            counted.data(uuid, "192.0.2.1", "maltrail", 1, b"a\nb\n")
        await counted.write(redis, 90)
        await redis_client.close(redis)

    asyncio.run(write())


def test_metrics_follow_what_comes(server: Server) -> None:
    uuid = server.sensor()
    before = scrape(server)
    assert value(before, "d4_connections", kind="plain") == 0
    assert value(before, "d4_refused_connections_total", reason="hmac") == 0
    with server.connect() as connection:
        connection.sendall(packet(uuid, 2, META) + packet(uuid, 254, b"a\nb\n") * 3)
        wait_for(lambda: len(server.lines(uuid)) == 6)
        wait_for(lambda: value(scrape(server), "d4_store_waiting_bytes") == 0)
        now = scrape(server)
        assert value(now, "d4_connections", kind="plain") == 1
        assert value(now, "d4_sensors_connected") == 1
        assert value(now, "d4_packets_total", type="maltrail") == 3
        assert value(now, "d4_bytes_total", type="maltrail") == 12
        assert value(now, "d4_records_total", type="maltrail") == 6
        assert value(now, "d4_store_seconds_count") == value(now, "d4_store_batch_bytes_count") >= 1
        assert value(now, "d4_stored_entries_total") == len(server.entries(uuid))
        connection.sendall(packet(uuid, 254, b"x", b"another key"))
        assert closed(connection)
    wait_for(lambda: value(scrape(server), "d4_refused_connections_total", reason="hmac") == 1)
    wait_for(lambda: value(scrape(server), "d4_connections", kind="plain") == 0)
    assert value(scrape(server), "d4_sensors_connected") == 0


def test_metrics_know_what_was_sent_again_and_what_is_missing(server: Server) -> None:
    uuid = server.sensor()
    with Acknowledged(server.port, server.ca, uuid) as client:
        client.announce(1)
        client.write(packet(uuid, 3, b"x\n") + packet(uuid, 3, b"y\n"))
        wait_for(lambda: value(scrape(server), "d4_stored_entries_total") >= 1)
        assert value(scrape(server), "d4_connections", kind="acknowledged") == 1
        with Acknowledged(server.port, server.ca, uuid, client.spool) as second:
            second.announce(2)
            second.write(packet(uuid, 3, b"y\n"))
            wait_for(lambda: value(scrape(server), "d4_repeated_packets_total") == 1)
        with Acknowledged(server.port, server.ca, uuid, client.spool) as third:
            third.announce(9)
            third.write(packet(uuid, 3, b"z\n"))
            wait_for(lambda: value(scrape(server), "d4_gaps_total") == 1)


def test_metrics_know_when_the_certificate_ends(server: Server, tmp_path: Path) -> None:
    in_two_years = time.time() + 730 * 86400
    assert value(scrape(server), "d4_certificate_end_seconds") == pytest.approx(in_two_years, abs=3600)
    blob = trustme.CA().issue_cert("127.0.0.1")
    (tmp_path / "tls" / "server.pem").write_bytes(blob.cert_chain_pems[0].bytes())
    (tmp_path / "tls" / "server.key").write_bytes(blob.private_key_pem.bytes())
    assert value(scrape(server), "d4_certificate_end_seconds") < in_two_years + 86400, "not taken yet"
    assert server.daemon.process is not None
    server.daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: value(scrape(server), "d4_certificate_end_seconds") > in_two_years + 86400)


def test_metrics_say_when_redis_is_away_and_go_on(tmp_path: Path) -> None:
    server = Server(tmp_path, tmp_path / "redis.sock")
    server.daemon.start()
    try:
        found = scrape(server)
        assert value(found, "d4_redis_up") == 0
        assert "d4_stream_entries" not in found
    finally:
        server.daemon.stop()
        server.redis.close()


def test_whoever_asks_for_metrics_harms_nobody(server: Server) -> None:
    path = str(server.config.parent / "metrics.sock")
    silent = []
    for number in range(50):
        client = socket.socket(socket.AF_UNIX)
        client.connect(path)
        if number % 2:
            client.sendall(b"\x00\xff" * 4000)
        silent.append(client)
    uuid = server.sensor()
    with server.connect() as connection:
        connection.sendall(packet(uuid, 3, b"x\n"))
        wait_for(lambda: server.lines(uuid, "3") == [b"x"])
    for client in silent:
        client.close()

    def served() -> bool:
        try:
            return value(scrape(server), "d4_packets_total", type="3") == 1
        except (OSError, ValueError):
            return False  # the places are still taken

    wait_for(served)


def test_a_place_where_it_cannot_listen_keeps_no_server_from_its_work(tmp_path: Path, redis: Daemon) -> None:
    server = Server(tmp_path, tmp_path / "redis.sock")
    server.config.write_text(server.config.read_text().replace("/metrics.sock", "/absent/metrics.sock"))
    server.daemon.start()
    try:
        uuid = server.sensor()
        with server.connect() as connection:
            connection.sendall(packet(uuid, 3, b"x\n"))
            wait_for(lambda: server.lines(uuid, "3") == [b"x"])
        assert f"no metrics, cannot listen at {tmp_path}/absent/metrics.sock: No such file" in server.log()
    finally:
        server.daemon.stop()
        server.redis.close()


def test_an_orderly_stop_writes_the_last_statistics(server: Server) -> None:
    uuid, key = server.sensor(), b"another key"
    with server.connect() as connection:
        connection.sendall(packet(uuid, 2, META) + packet(uuid, 254, b"a\nb\n") * 5)
        wait_for(lambda: len(server.lines(uuid)) == 10)
    with server.connect() as connection:
        connection.sendall(packet(uuid, 3, b"x\n", key))
        assert closed(connection)
    with server.connect() as connection:
        connection.sendall(packet(uuid4(), 3, b"x\n"))
        assert closed(connection)
    assert end(server.daemon)[0] == 0
    found = day(server)
    assert found.volumes == {"maltrail": Volume(5, 20, 10)}
    assert found.refused == {"hmac": 1}
    assert found.strangers == {"unknown-sensor:ipv4-loopback": 1}
    date = time.strftime("%Y-%m-%d", time.gmtime())
    key_ = f"d4:{{{partition(uuid)}}}:statistics:{uuid}:{date}"
    assert server.redis.hget(key_, "address") == b"127.0.0.1"
    assert server.redis.hget(key_, "refused:hmac") == b"1"
    assert 89 * 86400 < server.redis.ttl(key_) <= 90 * 86400
    assert server.redis.zscore(f"d4:{{{partition(uuid)}}}:seen", str(uuid)) == pytest.approx(
        time.time(), abs=60
    )


def test_statistics_are_written_while_the_server_runs(server: Server) -> None:
    uuid = server.sensor()
    with server.connect() as connection:
        connection.sendall(packet(uuid, 3, b"x\n"))
        wait_for(lambda: day(server).packets == 1, timeout=30)
        connection.sendall(packet(uuid, 3, b"y\n"))
        wait_for(lambda: day(server).packets == 2, timeout=30)
    end(server.daemon, signal.SIGKILL)
    assert day(server).packets == 2


def test_status_shows_the_server_and_what_waits(server: Server) -> None:
    uuid = server.sensor()
    with server.connect() as connection:
        connection.sendall(packet(uuid, 2, META) + packet(uuid, 254, b"a\nb\n") * 3)
        wait_for(lambda: day(server).packets == 3, timeout=30)
        result = server.attempt("status")
        assert (result.returncode, result.stderr) == (0, b"")
        text = result.stdout.decode()
        found = json.loads(server.command("status", "--json"))
    assert found["problems"] == []
    assert found["server"]["connections"] == {"plain": 1, "acknowledged": 0, "enrolment": 0}
    assert found["server"]["sensors"] == 1
    assert found["redis"]["sensors"] == {"approved": 1, "pending": 0, "revoked": 0}
    assert found["redis"]["today"]["types"] == {"maltrail": {"packets": 3, "bytes": 12, "records": 6}}
    assert found["redis"]["disk"]["directory"] == str(server.config.parent)
    [queue] = found["redis"]["queues"]
    entries = len(server.entries(uuid))
    assert (queue["name"], queue["lag"], queue["pending"]) == ("maltrail", entries, 0)
    assert queue["oldest"] > 0
    streams = [(stream["type"], stream["entries"]) for stream in found["redis"]["streams"]]
    assert streams == [("maltrail", entries)]
    assert found["certificate_end"] == pytest.approx(time.time() + 730 * 86400, abs=3600)
    shown = dict(line.split(maxsplit=1) for line in text.splitlines() if line)
    assert shown["server"] == "1 sensors connected; connections: 1 plain, 0 acknowledged, 0 enrolment"
    assert shown["sensors"] == "1 approved, 0 pending, 0 revoked"
    assert shown["today"].startswith("3 packets, 12 B, 6 records; refused: 0 connections")
    assert shown["certificate"].endswith("in 729 days")
    assert shown["QUEUE"].split() == ["TYPE", "LAG", "UNACKNOWLEDGED", "OLDEST", "CONSUMERS"]


def test_status_shows_what_it_can_while_the_server_is_down(server: Server) -> None:
    server.daemon.stop()
    result = server.attempt("status", "--json")
    assert result.returncode == 1
    found = json.loads(result.stdout)
    assert found["server"] is None
    assert found["redis"]["sensors"]["approved"] == 0
    assert found["certificate_end"] > time.time(), "of the file"
    assert found["problems"] == [
        f"d4-server does not run, or serves no metrics at {server.config.parent}/metrics.sock"
    ]
    assert server.attempt("status").stderr.decode().strip() == found["problems"][0]


def test_status_shows_what_it_can_while_redis_is_down(server: Server, redis: Daemon) -> None:
    redis.stop()
    result = server.attempt("status")
    assert result.returncode == 1
    assert result.stdout.startswith(b"server       0 sensors connected")
    assert b"does not answer" in result.stderr and b"Traceback" not in result.stderr


def test_without_metrics_status_is_that_of_redis(server: Server) -> None:
    server.config.write_text(server.config.read_text().replace("metrics = ", "metrics = no\n# "))
    found = json.loads(server.command("status", "--json"))
    assert found["server"] is None and found["redis"] is not None


def test_the_list_of_sensors_says_when_each_was_heard(server: Server) -> None:
    heard, silent = server.sensor(), server.sensor()
    before = int(time.time())
    count(server, heard, 4)
    shown = {
        each["uuid"]: each
        for each in map(json.loads, server.command("sensors", "list", "--json").splitlines())
    }
    assert before <= shown[str(heard)]["seen"] <= time.time()
    assert shown[str(heard)]["packets_today"] == 4
    assert (shown[str(silent)]["seen"], shown[str(silent)]["packets_today"]) == (None, 0)
    rows = {line.split()[0]: line.split() for line in server.command("sensors", "list").splitlines()}
    assert rows["UUID"] == ["UUID", "STATE", "SOURCE", "ADDED", "SEEN", "TODAY", "CODE", "NAME"]
    assert rows[str(heard)][-2:] == ["4", "-"]
    assert rows[str(silent)][-3:] == ["-", "0", "-"]


def test_the_dashboard_and_the_manual_know_exactly_the_metrics_that_there_are(server: Server) -> None:
    uuid = server.sensor()
    with server.connect() as connection:
        connection.sendall(packet(uuid, 3, b"x\n"))
        wait_for(
            lambda: "d4_queue_oldest_seconds" in scrape(server) and "d4_packets_total" in scrape(server), 30
        )
    root = Path(__file__).parents[2]
    several = "d4_workers"  # there, where there are several
    exposed = {several} | {name for name in scrape(server) if not name.endswith("_created")}
    dashboard = json.loads((root / "share" / "grafana" / "d4-server.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    shown = set(re.findall(r"\bd4_[a-z_]+", " ".join(queries)))
    assert shown <= exposed
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in exposed}
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown} == families
    manual = set(re.findall(r"`(d4_[a-z_]+)", (root / "docs" / "operation.md").read_text()))
    assert manual == families
