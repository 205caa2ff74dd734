"""What a client delivers and to whom: sessions, several servers, a proxy, dead paths, bad servers."""

from __future__ import annotations

import asyncio
import ctypes
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
import trustme
from conftest import Certificates
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from delivering import Chain, Server, free_port, run, trusting
from waiting import until

from d4common import client, connection, delivery
from d4common.config import Endpoint, Proxy
from d4common.session import ALPN_ACK
from d4common.tls import client_context, server_context

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

LINES = [b"line %03d" % number for number in range(500)]


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times that suit a test."""
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(client, "LONGEST_PAUSE", 0.1)
    monkeypatch.setattr(client, "DRAIN_TIME", 0.5)
    monkeypatch.setattr(delivery, "PROBATION", 0.05)


# The acknowledged session.


def test_lines_arrive_and_leave_the_outbox_as_they_are_acknowledged(certificates: Certificates) -> None:
    async def test() -> None:
        server = Server(certificates, acknowledges=True)
        await server.start()
        chain = Chain(server.port, trusting(certificates))
        chain.put(*LINES[:300])
        await chain.outbox.empty()
        chain.put(*LINES[300:])
        await chain.outbox.empty()
        assert (server.received, server.sessions) == (LINES, [1])
        assert chain.states == [f"connected to 127.0.0.1:{server.port}"]
        await chain.stop()
        await server.stop()

    run(test)


def test_every_line_arrives_once_over_a_hundred_connections(certificates: Certificates) -> None:
    """Each breaks after a few packets, and what was on its way is sent again."""

    async def test() -> None:
        server = Server(certificates, most=4, acknowledges=True)
        await server.start()
        chain = Chain(server.port, trusting(certificates), snaplen=20)
        chain.put(*LINES[:200])
        await chain.outbox.empty()
        assert (server.received, server.connections >= 50) == (LINES[:200], True)
        await chain.stop()
        await server.stop()

    run(test)


def test_pauses_are_short_again_once_something_was_stored(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is restarted again and again is not one that must be left alone."""
    monkeypatch.setattr(client, "LONGEST_PAUSE", 60.0)

    async def test() -> None:
        server = Server(certificates, most=4, acknowledges=True)
        await server.start()
        chain = Chain(server.port, trusting(certificates), snaplen=20)
        chain.put(*LINES[:60])
        await asyncio.wait_for(chain.outbox.empty(), 10)
        assert (server.received, server.connections >= 15) == (LINES[:60], True)
        await chain.stop()
        await server.stop()

    run(test)


def test_what_was_stored_without_an_answer_is_not_stored_again(certificates: Certificates) -> None:
    async def test() -> None:
        server = Server(certificates, acknowledges=True)
        server.answers = False
        await server.start()
        chain = Chain(server.port, trusting(certificates))
        chain.put(*LINES[:100])
        await until(lambda: len(server.received) == 100)
        assert len(chain.outbox) == 100
        await server.stop()
        server.answers = True
        chain.put(*LINES[100:])
        await server.start()
        await chain.outbox.empty()
        assert (server.received, server.sessions) == (LINES, [1, 1])
        await chain.stop()
        await server.stop()

    run(test)


def test_nothing_is_sent_before_the_server_has_said_what_it_has(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "KEEP_ALIVE", 0.05)

    async def test() -> None:
        server = Server(certificates, acknowledges=True)
        server.welcomes = False
        await server.start()
        chain = Chain(server.port, trusting(certificates))
        chain.put(*LINES)
        await until(lambda: len(server.sessions) >= 3)  # it has had time to send more
        assert (server.received, server.connections) == ([], 1)
        server.welcomes = True
        await chain.outbox.empty()
        assert server.received == LINES
        await chain.stop()
        await server.stop()

    run(test)


def test_a_spool_that_is_a_copy_loses_nothing(certificates: Certificates) -> None:
    """The server has more of it, and the numbers of what is new here are taken, for some or all of it."""

    async def test() -> None:
        server = Server(certificates, acknowledges=True)
        await server.start()
        for lines in (LINES[:1], LINES):
            chain = Chain(server.port, trusting(certificates))
            server.stored[chain.outbox.id] = 3
            chain.put(*lines)
            await chain.says("the server acknowledges packets up to 3, but 0 is the last that was sent")
            assert chain.states[0].endswith("nothing was taken out of the spool for it; start it again")
            assert (server.received, chain.outbox.first) == ([], 1)
            await chain.stop()
        await server.stop()

    run(test)


def test_no_more_than_the_window_is_on_its_way(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "WINDOW", 1000)
    monkeypatch.setattr(delivery, "KEEP_ALIVE", 0.05)

    async def test() -> None:
        server = Server(certificates, acknowledges=True)
        server.answers = False
        await server.start()
        chain = Chain(server.port, trusting(certificates), snaplen=20)
        chain.put(*LINES)
        await until(lambda: len(server.sessions) >= 4)  # it has had time to send more
        assert 500 < sum(len(line) + 1 for line in server.received) <= 1000
        server.answers = True
        await chain.outbox.empty()
        assert (server.received, server.connections) == (LINES, 1)
        await chain.stop()
        await server.stop()

    run(test)


def test_an_idle_session_is_kept_alive(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "KEEP_ALIVE", 0.05)
    monkeypatch.setattr(delivery, "SILENCE", 0.5)

    async def test() -> None:
        server = Server(certificates, acknowledges=True)
        await server.start()
        chain = Chain(server.port, trusting(certificates))
        chain.put(b"line")
        await until(lambda: len(server.sessions) >= 15)
        assert (server.connections, set(server.sessions[1:])) == (1, {2})
        await chain.stop()
        await server.stop()

    run(test)


def test_packets_that_the_outbox_dropped_are_skipped_in_a_new_session(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "WINDOW", 100)
    monkeypatch.setattr(delivery, "KEEP_ALIVE", 0.05)

    async def test() -> None:
        server = Server(certificates, acknowledges=True)
        server.answers = False
        await server.start()
        chain = Chain(server.port, trusting(certificates), snaplen=9, most=900)
        chain.put(*LINES[:90])
        await until(lambda: len(server.received) >= 5)
        chain.put(*LINES[90:])
        assert chain.outbox.dropped == 400
        server.answers = True
        await chain.outbox.empty()
        sent = len(server.received) - 100
        assert server.received == LINES[:sent] + LINES[400:]
        assert {1, 401} <= set(server.sessions)
        assert not any("lost" in state for state in chain.states)
        await chain.stop()
        await server.stop()

    run(test)


def test_a_stop_waits_for_answers_but_not_for_ever(certificates: Certificates) -> None:
    async def test() -> None:
        server = Server(certificates, acknowledges=True)
        await server.start()
        chain = Chain(server.port, trusting(certificates))
        await chain.says("connected")
        chain.put(*LINES)
        assert await chain.stop() < client.DRAIN_TIME
        assert (server.received, len(chain.outbox)) == (LINES, 0)
        server.answers = False
        chain = Chain(server.port, trusting(certificates))
        chain.put(b"more")
        await until(lambda: server.received[-1] == b"more")
        assert 0.9 * client.DRAIN_TIME <= await chain.stop() < client.DRAIN_TIME + 1
        assert len(chain.outbox) == 1
        await server.stop()

    run(test)


# Several servers, names and addresses.


def test_the_next_server_is_tried_at_once_when_one_is_away(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "FIRST_PAUSE", 60.0)

    async def test() -> None:
        second = Server(certificates, acknowledges=True)
        await second.start()
        chain = Chain([free_port(), free_port(), second.port], trusting(certificates))
        chain.put(b"line")
        await chain.outbox.empty()
        assert [state.split(": ")[-1] for state in chain.states[:2]] == ["Connection refused"] * 2
        assert chain.states[2:] == [f"connected to 127.0.0.1:{second.port}"]
        await chain.stop()
        await second.stop()

    run(test)


def test_a_server_that_goes_is_replaced_by_another_and_back(certificates: Certificates) -> None:
    async def test() -> None:
        servers = [Server(certificates, acknowledges=True) for _ in range(2)]
        for server in servers:
            server.stored = servers[0].stored
            await server.start()
        chain = Chain([server.port for server in servers], trusting(certificates))
        for number, server in enumerate([*servers, *servers]):
            chain.put(LINES[number])
            await chain.outbox.empty()
            assert server.received[-1] == LINES[number]
            await server.stop()
            await servers[1 - number % 2].start() if number else None
        await chain.stop()
        await servers[0].stop()

    run(test)


def test_ipv6_addresses_are_verified_like_others(tmp_path: Path) -> None:
    authority = trustme.CA()
    made = authority.issue_cert("::1")
    names = ("ca", "certificate", "key", "ca")
    files = Certificates(*(tmp_path / f"{name}.pem" for name in names))
    authority.cert_pem.write_to_path(files.ca)
    made.cert_chain_pems[0].write_to_path(files.certificate)
    made.private_key_pem.write_to_path(files.key)

    async def test() -> None:
        server = Server(files, acknowledges=True)
        await server.start("::1")
        chain = Chain(server.port, trusting(files), host="::1")
        chain.put(b"line")
        await chain.outbox.empty()
        assert chain.states == [f"connected to [::1]:{server.port}"]
        await chain.stop()
        await server.stop()

    run(test)


def test_an_address_that_does_not_answer_does_not_hold_up_the_others(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a host whose IPv6 leads nowhere."""

    async def test() -> None:
        server = Server(certificates, acknowledges=True)
        await server.start()
        with deaf() as silent:

            async def addresses(endpoint: Endpoint) -> list[connection.Address]:
                there = [silent.getsockname(), ("127.0.0.1", endpoint.port)]
                return [(socket.AF_INET, address) for address in there]

            monkeypatch.setattr(connection, "_addresses", addresses)
            chain = Chain(server.port, trusting(certificates), host="localhost")
            chain.put(b"line")
            await chain.outbox.empty()
        assert chain.states == [f"connected to localhost:{server.port}"]
        await chain.stop()
        await server.stop()

    run(test)


def test_addresses_of_both_kinds_take_turns() -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        found = [(socket.AF_INET6, 1, 6, "", (n,)) for n in (1, 2, 3)] + [(socket.AF_INET, 1, 6, "", (4,))]

        async def answer(*args: object, **kwargs: object) -> list[object]:
            return [*found, found[0]]

        loop.getaddrinfo = answer  # type: ignore[method-assign, assignment]
        addresses = await connection._addresses(Endpoint("host", 1))
        assert [address for _, address in addresses] == [(1,), (4,), (2,), (3,)]

    asyncio.run(test())


def deaf() -> socket.socket:
    """A listening socket that answers to no SYN: its queue is full."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=0)
    for _ in range(2):
        waiting = socket.socket(type=socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        with suppress(BlockingIOError):
            waiting.connect(listening.getsockname())
        _KEPT.append(waiting)
    return listening


_KEPT: list[socket.socket] = []


@pytest.fixture(autouse=True)
def let_go() -> object:
    yield
    while _KEPT:
        _KEPT.pop().close()


# Paths that are dead.


def drop_everything(peer: socket.socket) -> None:
    """Has the kernel throw away what comes for this socket, unseen and unacknowledged (socket(7))."""
    instruction = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    peer.setsockopt(
        socket.SOL_SOCKET, 26, struct.pack("HxxxxxxP", 1, ctypes.addressof(instruction))
    )  # SO_ATTACH_FILTER: return 0


@contextmanager
def cut_off(server: Server) -> Iterator[None]:
    """Makes the paths of all connections of a server dead, until the server gives them up at the end."""
    dead = list(server.open)
    for writer in server.open:
        with socket.socket(fileno=socket.dup(writer.get_extra_info("socket").fileno())) as peer:
            drop_everything(peer)
    yield
    for writer in dead:
        writer.transport.abort()


@pytest.mark.parametrize("busy", [True, False])
def test_plain_d4_notices_a_dead_path(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch, busy: bool
) -> None:
    monkeypatch.setattr(connection, "USER_TIMEOUT", 1.0)
    monkeypatch.setattr(connection, "KEEPALIVE_IDLE", 1)
    monkeypatch.setattr(connection, "KEEPALIVE_INTERVAL", 1)

    async def test() -> None:
        server = Server(certificates)
        await server.start()
        chain = Chain(server.port, trusting(certificates))
        chain.put(b"line")
        await chain.outbox.empty()
        with cut_off(server):
            chain.put(*LINES[: 3 * busy])
            await chain.says("lost: Connection timed out")
            await until(lambda: len(chain.states) > 2)
            await chain.outbox.empty()
        assert server.received == [b"line", *LINES[: 3 * busy]]
        await chain.stop()
        await server.stop()

    run(test)


def test_a_session_notices_a_dead_path(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "SILENCE", 0.5)

    async def test() -> None:
        server = Server(certificates, acknowledges=True)
        await server.start()
        chain = Chain(server.port, trusting(certificates))
        chain.put(b"line")
        await chain.outbox.empty()
        with cut_off(server):
            chain.put(*LINES)
            await chain.says("lost: nothing was heard of the server for 0 s")
            await chain.outbox.empty()
        assert server.received == [b"line", *LINES]
        await chain.stop()
        await server.stop()

    run(test)


def test_silence_counts_from_the_last_answer() -> None:
    assert delivery.KEEP_ALIVE * 2 < delivery.SILENCE, "an answer may be lost, and two more asked for"
    assert connection.KEEPALIVE_IDLE + connection.USER_TIMEOUT < 60


# A proxy.


class SocksServer:
    """A SOCKS5 server that connects to 127.0.0.1 whatever the name, and keeps what it was asked for."""

    def __init__(self, password: bytes = b"", reply: int = 0) -> None:
        self.asked: list[bytes] = []
        self._password = password
        self._reply = reply

    async def start(self) -> Endpoint:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return Endpoint("127.0.0.1", self._server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        offered = (await reader.readexactly(3))[2]
        writer.write(bytes((5, offered)))
        if offered == 2:
            user = await reader.readexactly((await reader.readexactly(2))[1])
            password = await reader.readexactly((await reader.readexactly(1))[0])
            self.asked.append(user)
            writer.write(bytes((1, password != self._password)))
        _, _, _, kind, size = await reader.readexactly(5)
        assert kind == 3, "a name"
        self.asked.append(await reader.readexactly(size))
        port = int.from_bytes(await reader.readexactly(2), "big")
        writer.write(bytes((5, self._reply, 0, 1)) + bytes(6))
        if self._reply:
            return writer.close()
        ends = [(reader, writer), await asyncio.open_connection("127.0.0.1", port)]
        tasks = [asyncio.create_task(self._relay(ends[n][0], ends[1 - n][1])) for n in (0, 1)]
        await asyncio.wait(tasks, return_when="FIRST_COMPLETED")
        for _, writer in ends:
            writer.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)

    def stop(self) -> None:
        self._server.close()


@pytest.mark.parametrize("user", [None, "me"])
def test_a_proxy_is_given_the_name_and_the_server_verified(
    certificates: Certificates, user: str | None
) -> None:
    async def test() -> None:
        server, socks = Server(certificates, acknowledges=True), SocksServer(b"secret")
        await server.start()
        proxy = Proxy(await socks.start(), user, "secret")
        chain = Chain(server.port, trusting(certificates), host="localhost", proxy=proxy)
        chain.put(*LINES)
        await chain.outbox.empty()
        assert (server.received, socks.asked) == (LINES, [b"me"] * bool(user) + [b"localhost"])
        await chain.stop()
        await server.stop()
        socks.stop()

    run(test)


def test_a_proxy_that_cannot_connect_is_named(certificates: Certificates) -> None:
    async def test() -> None:
        socks = SocksServer(reply=4)
        proxy = Proxy(await socks.start())
        chain = Chain(4443, trusting(certificates), host="d4.example", proxy=proxy)
        await chain.says(f"d4.example:4443 cannot be reached: proxy {proxy}: host unreachable")
        await chain.stop()
        socks.stop()

    run(test)


# Servers that are not what they should be. The data is kept whatever they do.


def expired(directory: Path) -> Certificates:
    """A certificate that was valid, and is the CA that it is verified by."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "old")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now - timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    pem, key_pem = directory / "old.pem", directory / "old-key.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return Certificates(pem, pem, key_pem, pem)


def test_an_expired_certificate_is_named(tmp_path: Path) -> None:
    files = expired(tmp_path)

    async def test() -> None:
        server = Server(files, acknowledges=True)
        await server.start()
        chain = Chain(server.port, trusting(files))
        chain.put(b"line")
        await chain.says(
            "its certificate is not trusted: certificate has expired; the server needs a new one"
        )
        await chain.stop()
        assert (server.received, len(chain.outbox)) == ([], 1)
        await server.stop()

    run(test)


def test_a_foreign_certificate_is_named(certificates: Certificates) -> None:
    async def test() -> None:
        server = Server(certificates, acknowledges=True)
        await server.start()
        chain = Chain(server.port, lambda: client_context(certificates.other_ca, True))
        chain.put(b"line")
        await chain.says("; [d4] ca must be the CA that signed it")
        await chain.stop()
        assert (server.received, len(chain.outbox)) == ([], 1)
        await server.stop()

    run(test)


@pytest.mark.parametrize(
    ("acknowledges", "complaint"),
    [
        (True, "lost: it ended before the server had answered; a server that does not know this sensor, or"),
        (False, "lost: the server closed it; its log says why"),
    ],
)
def test_a_wrong_key_costs_nothing(certificates: Certificates, acknowledges: bool, complaint: str) -> None:
    """Plain D4 does not say so, but a server that has not let this sensor in gets no more than one packet."""

    async def test() -> None:
        server = Server(certificates, acknowledges=acknowledges, key=b"another")
        await server.start()
        chain = Chain(server.port, trusting(certificates))
        chain.put(*LINES)
        await until(lambda: server.connections >= 4)
        assert all(complaint in state for state in chain.states)
        assert (server.received, len(chain.outbox)) == ([], 500)
        await chain.stop()
        await server.stop()

    run(test)


def answering(data: bytes) -> Serve:
    """A server that says this when it has heard something."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await reader.read(65536)
            writer.write(data)
        writer.close()

    return serve


@pytest.mark.parametrize(
    ("alpn", "complaint"),
    [
        ([], "lost: it is no D4 server, which says nothing, but b'HTTP/1.1 400 Bad Request"),
        ([ALPN_ACK], "does not speak d4-ack/1; nothing was taken out of the spool for it"),
    ],
)
def test_a_server_that_says_something_else_is_named(
    certificates: Certificates, alpn: list[str], complaint: str
) -> None:
    async def test() -> None:
        context = server_context(certificates.certificate, certificates.key, alpn)
        http = answering(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        server = await asyncio.start_server(http, "127.0.0.1", 0, ssl=context)
        chain = Chain(server.sockets[0].getsockname()[1], trusting(certificates))
        chain.put(*LINES)
        await chain.says(complaint)
        assert len(chain.outbox) == 500
        await chain.stop()
        server.close()

    run(test)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "cannot be reached: no TLS with it: "),
        (b"", "cannot be reached: it closed the connection before TLS was agreed on"),
    ],
)
def test_a_server_without_tls_is_named(certificates: Certificates, data: bytes, complaint: str) -> None:
    async def test() -> None:
        server = await asyncio.start_server(answering(data), "127.0.0.1", 0)
        chain = Chain(server.sockets[0].getsockname()[1], trusting(certificates))
        chain.put(b"line")
        await chain.says(complaint)
        assert len(chain.outbox) == 1
        await chain.stop()
        server.close()

    run(test)


def test_a_server_that_knows_other_protocols_is_sent_plain_d4(certificates: Certificates) -> None:
    async def test() -> None:
        server = Server(certificates)
        server.context.set_alpn_protocols(["http/1.1"])
        await server.start()
        chain = Chain(server.port, trusting(certificates))
        chain.put(b"line")
        await chain.outbox.empty()
        assert chain.states == [f"connected to 127.0.0.1:{server.port}, by plain D4: it acknowledges nothing"]
        await chain.stop()
        await server.stop()

    run(test)
