"""What happens to the chain, row for row, while 50,000 numbered events are on their way."""

from __future__ import annotations

import os
import random
import signal
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from faults.chain import AHEAD, EVENTS, Chain
from faults.disk import Disk
from faults.proxy import ENDLESS
from faults.table import Row
from serving import Server

from d4common import tls
from d4common.session import ALPN_ACK
from d4sensor import identity
from d4server import certificates

CUTS = 200


class Fault(NamedTuple):
    """A row of the table: what makes it, and what this machine lacks for it, if anything."""

    run: Callable[[], Row]
    lacks: str


FAULTS: dict[str, Fault] = {}
"""The table, by what happens."""

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)

NO_ROOT = "a disk of the test's own is for root" if os.geteuid() else ""
NO_FAKETIME = "" if FAKETIME else "libfaketime is not installed: packaging/dependencies test installs it"


def fault(name: str, lacks: str = "") -> Callable[[Callable[[], Row]], Callable[[], Row]]:
    """Makes a function a row of the table."""

    def add(run: Callable[[], Row]) -> Callable[[], Row]:
        FAULTS[name] = Fault(run, lacks)
        return run

    return add


@fault("path dead, nobody is told")
def half_open() -> Row:
    """Both ends of the connection stay open. What was held up comes after its successor has begun."""
    with Chain() as chain:
        for _ in chain.steps(1):
            chain.flow_until(chain.proxy.hold)
        chain.flow(EVENTS * 3 // 4)
        chain.proxy.release()
        assert chain.source.log.read_text().count("nothing was heard of the server") == 1
        return chain.finish()


@fault("TCP reset within packets")
def cuts() -> Row:
    """On their way to the server or, now and then, in an answer, or while TLS is agreed on."""
    randomly = random.Random(5)

    def plan() -> tuple[int, int]:
        if chain.proxy.cuts >= CUTS:
            return ENDLESS, ENDLESS
        return randomly.randrange(1, 80_000), randomly.choice(
            (ENDLESS, ENDLESS, randomly.randrange(1, 10_000))
        )

    with Chain() as chain:
        chain.proxy.plan = plan
        chain.proxy.cut()
        chain.flow_until(lambda: chain.proxy.cuts >= CUTS)
        chain.faults = chain.proxy.cuts
        return chain.finish()


@fault("kill -9 of the sensor")
def sensor_killed() -> Row:
    with Chain() as chain:
        for _ in chain.steps(10):
            chain.kill(chain.source)
            chain.source.start()
        return chain.finish()


@fault("kill -9 of the server")
def server_killed() -> Row:
    with Chain() as chain:
        for _ in chain.steps(10):
            chain.kill(chain.server.daemon)
            chain.server.daemon.start()
        return chain.finish()


@fault("kill -9 of Redis")
def redis_killed() -> Row:
    with Chain() as chain:
        for _ in chain.steps(10):
            chain.kill(chain.redis)
            chain.redis.start()
        return chain.finish()


@fault("kill -9 of all three")
def all_killed() -> Row:
    with Chain() as chain:
        three = (chain.redis, chain.server.daemon, chain.source)
        for _ in chain.steps(5):
            chain.kill(*three)
            for daemon in three:
                daemon.start()
        return chain.finish()


@fault("server restarted")
def server_restarted() -> Row:
    with Chain() as chain:
        for _ in chain.steps(10):
            chain.server.daemon.stop()
            chain.server.daemon.start()
        return chain.finish()


@fault("disk of the spool full", NO_ROOT)
def spool_full() -> Row:
    """Once so that the spool leaves the rest of the disk to others, once to the last byte.

    Nothing comes through meanwhile, and more waits than the spool has ever had room for: otherwise it would
    go on in what it has.
    """
    with Disk(100 << 20) as disk, Chain(runner={"source": disk.runner}, spool=disk.path / "spool") as chain:
        for number in chain.steps(2):
            chain.flow_until(chain.proxy.hold)
            chain.ahead = AHEAD * (2 + number)
            disk.fill(free=number * (50 << 20))
            chain.says(chain.source, "trying again every second", number + 1)
            disk.empty()
            chain.proxy.release()
            chain.says(chain.source, "the spool can be written again", number + 1)
        return chain.finish()


@fault("disk of Redis full", NO_ROOT)
def redis_disk_full() -> Row:
    """Redis ends where it cannot write what it is to answer for."""
    with Disk(100 << 20) as disk, Chain(runner={"redis": disk.runner}, data=disk.path) as chain:
        for _ in chain.steps(3):
            disk.fill()
            chain.flow_until(lambda: chain.redis.process and chain.redis.process.poll() is not None)
            chain.redis.stop()
            disk.empty()
            chain.redis.start()
        return chain.finish()


@fault("memory of Redis full")
def redis_memory_full() -> Row:
    with Chain() as chain:
        redis = chain.server.redis
        for number in chain.steps(3):
            redis.config_set("maxmemory", redis.info("memory")["used_memory"])
            chain.says(chain.server.daemon, "Redis does not store", number + 1)
            redis.config_set("maxmemory", 0)
        return chain.finish()


@fault("clock stepped back an hour", NO_FAKETIME)
def clock_stepped() -> Row:
    """Of sensor and server, and forth again. (Redis does not run with a clock that is not the machine's.)"""
    with TemporaryDirectory(prefix="clock-") as directory:
        offset = Path(directory, "offset")
        offset.write_text("+0")
        runner = dict.fromkeys(("server", "source"), faked_clock(offset))
        with Chain(runner=runner) as chain:
            for number in chain.steps(2):
                offset.write_text(("-3600", "+0")[number])
                chain.proxy.cut()  # the next TLS handshake is by the new time
            row = chain.finish()
            times = [int(entry[b"time"]) for entry in chain.entries()]
            steps = [after - before for before, after in pairwise(times)]
            assert min(steps) < -3500 and max(steps) > 3500, "the sensor's clock was not stepped"
            return row


@fault("server's certificate replaced")
def certificate_replaced() -> Row:
    with Chain() as chain:
        server = chain.server
        for number in chain.steps(5):
            before = certificate_of(server)
            (server.ca.parent / "tls" / "server.pem").unlink()
            certificates.ensure(server.ca.parent, [])
            assert server.daemon.process is not None
            server.daemon.process.send_signal(signal.SIGHUP)
            chain.says(server.daemon, "Reloaded", number + 1)
            assert certificate_of(server) != before
            chain.proxy.cut()
        return chain.finish()


@fault("sensor's key rotated")
def key_rotated() -> Row:
    with Chain() as chain:
        for _ in chain.steps(1):
            key = chain.server.command("sensors", "rotate", str(chain.uuid)).strip()
            chain.proxy.cut()  # the old key is good for another connection
            chain.flow(EVENTS * 3 // 4)
            identity.replace(chain.identity, chain.uuid, key)
            chain.source.stop()
            chain.source.start()
        return chain.finish()


@fault("two servers at one address")
def two_servers() -> Row:
    """The sensor goes to the other one each time; the first gets later what was on its way to it."""
    with Chain(servers=2) as chain:
        for number in chain.steps(12):
            if number % 4 == 3:
                chain.proxy.cut()
                continue
            connections = chain.proxy.connections
            chain.flow_until(chain.proxy.hold)
            chain.proxy.leave()
            chain.flow_until(lambda seen=connections: chain.proxy.connections > seen)
            chain.proxy.release()
        return chain.finish()


@fault("recorded session replayed")
def session_replayed() -> Row:
    """What the sensor said on each of its connections is said again, the same bytes on another one."""
    with Chain(recorded=True) as chain:
        for number in chain.steps(3):
            chain.proxy.cut()
            say_again(chain.server, chain.proxy.heard[number])
        chain.flow(EVENTS - 1)
        for said in chain.proxy.heard:
            say_again(chain.server, said)
        return chain.finish()


def say_again(server: Server, said: bytes) -> None:
    """Brings the server these bytes over TLS, as a sensor would, and waits until it has read them."""
    context = tls.client_context(server.ca, True, (ALPN_ACK,))
    plain = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    with context.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
        connection.sendall(said)
        assert connection.recv(1 << 16), "the session was refused"
        connection.setblocking(False)
        with suppress(ssl.SSLError):  # it says that this is the end, and does not wait for the server's
            connection.unwrap()
        connection.settimeout(30)
        with suppress(ssl.SSLZeroReturnError):
            while connection.recv(1 << 16):
                pass


def certificate_of(server: Server) -> bytes | None:
    """What the server shows of itself now."""
    with server.connect() as connection:
        return connection.getpeercert(binary_form=True)


def faked_clock(offset: Path) -> tuple[str, ...]:
    """What stands before a command so that its clock is off by what this file says (faketime(1))."""
    settings = {
        "LD_PRELOAD": FAKETIME,
        "FAKETIME_TIMESTAMP_FILE": offset,
        "FAKETIME_NO_CACHE": 1,
        "FAKETIME_DONT_FAKE_MONOTONIC": 1,
    }
    return ("env", *(f"{name}={value}" for name, value in settings.items()))
