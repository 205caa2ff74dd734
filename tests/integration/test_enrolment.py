"""A server lets sensors in: over real TLS, with a real Redis, whatever they say."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from enrolling import CLAIM, Enrolling, serving
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from waiting import until

from d4common import enrolling
from d4server import admission, enrolment, sensors

OTHER_CLAIM = "d2" * 32


@pytest.fixture
def run(tmp_path: Path, redis_socket: Path) -> Callable[[Callable[[Enrolling], Awaitable[None]]], None]:
    """Runs a test with a server of its own."""

    def run(test: Callable[[Enrolling], Awaitable[None]]) -> None:
        async def with_server() -> None:
            async with serving(tmp_path, redis_socket) as server:
                await test(server)

        asyncio.run(asyncio.wait_for(with_server(), 60))

    return run


Run = Callable[[Callable[[Enrolling], Awaitable[None]]], None]


def request_for(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    """A CSR that asks for a name that nobody should get."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return csr.public_bytes(serialization.Encoding.PEM).decode()


def test_a_token_lets_one_sensor_in(run: Run) -> None:
    async def test(server: Enrolling) -> None:
        uuid, token = uuid4(), await server.token("the lobby")
        answer = await server.enroll(uuid, token=token)
        assert answer["status"] == "approved"
        assert answer["ca"] == (server.directory / "ca.pem").read_text()
        assert "certificate" not in answer
        assert await sensors.keys_of(server.redis, uuid) == (answer["key"].encode(),)
        (sensor,) = await sensors.known(server.redis)
        assert (sensor.uuid, sensor.name, sensor.state) == (uuid, "the lobby", "approved")
        assert not await server.redis.keys("d4:{sensors}:token:*"), "used up"

    run(test)


@pytest.mark.parametrize("what", ["wrong", "used", "expired"])
def test_a_token_that_is_not_right_lets_nobody_in(run: Run, what: str) -> None:
    async def test(server: Enrolling) -> None:
        token, uuid = await server.token(valid=0.001), uuid4()
        if what == "expired":
            await until_gone(server)
        elif what == "used":
            token = await server.token()
            await server.enroll(uuid4(), token=token)
        else:
            token = "wrong"
        answer = await server.enroll(uuid, token=token)
        assert answer["status"] == "refused" and "token" in answer["reason"]
        assert await sensors.keys_of(server.redis, uuid) == ()

    async def until_gone(server: Enrolling) -> None:
        while await server.redis.keys("d4:{sensors}:token:*"):
            await asyncio.sleep(0.01)

    run(test)


def test_an_open_connection_hears_of_the_approval(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def test(server: Enrolling) -> None:
        uuid, client = uuid4(), await server.connect()
        client.say(op="enroll", uuid=str(uuid), name="x", claim=CLAIM)
        answer = await client.hear()
        (sensor,) = await sensors.known(server.redis)
        assert answer == {"status": "pending", "code": sensor.code}
        assert (sensor.uuid, sensor.name, sensor.state) == (uuid, "x", "pending")
        assert sensor.code.replace("-", "") == enrolling.digest(CLAIM)[:8]
        assert await sensors.keys_of(server.redis, uuid) == ()
        assert f"sensors approve {uuid}" in caplog.text and sensor.code in caplog.text
        await admission.approve(server.redis, uuid)
        answer = await client.hear()
        assert answer["status"] == "approved"
        assert await sensors.keys_of(server.redis, uuid) == (answer["key"].encode(),)
        client.say(op="done")
        assert await client.hear() == {}, "closed"

    run(test)


@pytest.mark.parametrize("by_token", [True, False])
def test_a_lost_answer_is_given_again_until_all_is_done(run: Run, by_token: bool) -> None:
    async def test(server: Enrolling) -> None:
        uuid, more = uuid4(), {}
        if by_token:
            more = {"token": await server.token()}
        else:
            await server.enroll(uuid)
            await admission.approve(server.redis, uuid)
        answers = [await server.enroll(uuid, **more) for _ in range(3)]
        assert answers[0]["status"] == "approved" and answers.count(answers[0]) == 3
        client = await server.connect()
        client.say(op="enroll", uuid=str(uuid), name="x", claim=CLAIM)
        assert await client.hear() == answers[0]
        client.say(op="done")
        assert await client.hear() == {}
        assert (await server.enroll(uuid, **more))["status"] == "refused"
        assert await sensors.keys_of(server.redis, uuid) == (answers[0]["key"].encode(),)

    run(test)


def test_no_key_is_given_out_that_no_replica_has(
    run: Run, tmp_path: Path, redis_socket: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Once one has, or none is wanted any more, the same request gets it."""

    async def test(server: Enrolling) -> None:
        uuid, token = uuid4(), await server.token()
        async with serving(tmp_path, redis_socket, replicas=1) as careful:
            assert await careful.enroll(uuid, token=token) == {}
        assert "fewer than 1 replicas have what it stores" in caplog.text
        assert (await server.enroll(uuid, token=token))["status"] == "approved"

    run(test)


def test_nobody_takes_over_a_sensor(run: Run) -> None:
    """Neither one that waits, nor one that was let in a moment ago, nor one that has long been known."""

    async def test(server: Enrolling) -> None:
        uuid = uuid4()
        await server.enroll(uuid)
        answer = await server.enroll(uuid, OTHER_CLAIM)
        assert answer["status"] == "refused" and f"sensors remove {uuid}" in answer["reason"]
        await admission.approve(server.redis, uuid)
        keys = await sensors.keys_of(server.redis, uuid)
        for more in ({}, {"token": await server.token()}):
            answer = await server.enroll(uuid, OTHER_CLAIM, **more)
            assert answer["status"] == "refused" and "renew" in answer["reason"]
        assert await sensors.keys_of(server.redis, uuid) == keys
        assert await sensors.remove(server.redis, uuid)
        assert (await server.enroll(uuid, OTHER_CLAIM))["status"] == "pending"

    run(test)


def test_a_token_wins_over_somebody_who_waits_under_the_uuid(run: Run) -> None:
    async def test(server: Enrolling) -> None:
        uuid = uuid4()
        await server.enroll(uuid, OTHER_CLAIM)
        assert (await server.enroll(uuid, token=await server.token()))["status"] == "approved"
        assert (await server.enroll(uuid, OTHER_CLAIM))["status"] == "refused"
        assert not await server.redis.exists("d4:{sensors}:pending")

    run(test)


def test_revoked_is_told_at_once_and_stays(run: Run) -> None:
    async def test(server: Enrolling) -> None:
        uuid, client = uuid4(), await server.connect()
        client.say(op="enroll", uuid=str(uuid), name="x", claim=CLAIM)
        await client.hear()
        assert await sensors.revoke(server.redis, uuid)
        assert (await client.hear())["status"] == "refused"
        assert (await server.enroll(uuid, token=await server.token()))["status"] == "refused"
        (sensor,) = await sensors.known(server.redis)
        assert sensor.state == "revoked"
        with pytest.raises(sensors.Refused, match="revoked"):
            await admission.approve(server.redis, uuid)

    run(test)


async def renewal(server: Enrolling, uuid: UUID, key: str, done: bool = False) -> dict[str, str]:
    """The answer to a sensor that asks for another key."""
    client = await server.connect()
    client.say(op="renew", uuid=str(uuid), proof=enrolling.proof(key.encode(), client.nonce))
    answer = await client.hear()
    if done:
        client.say(op="done")
        assert await client.hear() == {}
    client.writer.transport.abort()
    return answer


def test_a_key_is_renewed_and_the_former_stays_valid(run: Run) -> None:
    async def test(server: Enrolling) -> None:
        uuid = uuid4()
        one = (await server.enroll(uuid, token=await server.token()))["key"]
        two = (await renewal(server, uuid, one))["key"]
        assert two != one
        assert (await renewal(server, uuid, one, done=True))["key"] == two, "the answer was lost"
        assert await sensors.keys_of(server.redis, uuid) == (two.encode(), one.encode())
        answer = await renewal(server, uuid, one)
        assert answer["status"] == "refused", "whoever has stolen it gets no new one by it"
        three = (await renewal(server, uuid, two))["key"]
        assert await sensors.keys_of(server.redis, uuid) == (three.encode(), two.encode())
        four = (await renewal(server, uuid, three))["key"]
        assert four not in (one, two, three), "what was used is on the sensor's disk"
        await server.redis.hset(f"d4:{{sensors}}:{uuid}", "former_until", 1)
        assert await sensors.keys_of(server.redis, uuid) == (four.encode(),)
        assert (await renewal(server, uuid, three))["status"] == "refused"

    run(test)


def test_a_key_is_not_renewed_without_proof_that_is_new(run: Run) -> None:
    async def test(server: Enrolling) -> None:
        uuid = uuid4()
        key = (await server.enroll(uuid, token=await server.token()))["key"]
        before = await server.connect()
        before.writer.transport.abort()
        old = enrolling.proof(key.encode(), before.nonce)
        for proof in (old, "0" * 64):
            answer = await server.ask(op="renew", uuid=str(uuid), proof=proof)
            assert answer["status"] == "refused"
        await sensors.revoke(server.redis, uuid)
        assert (await renewal(server, uuid, key))["status"] == "refused"
        assert (await renewal(server, uuid4(), key))["status"] == "refused"

    run(test)


def test_an_administrator_rotates_and_the_sensor_fetches_the_same(run: Run) -> None:
    async def test(server: Enrolling) -> None:
        uuid = uuid4()
        key = (await server.enroll(uuid, token=await server.token()))["key"]
        new = (await sensors.rotate(server.redis, uuid)).decode()
        with pytest.raises(sensors.Refused, match="within a day"):
            await sensors.rotate(server.redis, uuid)
        assert await sensors.keys_of(server.redis, uuid) == (new.encode(), key.encode())
        assert (await renewal(server, uuid, key, done=True))["key"] == new
        assert await sensors.rotate(server.redis, uuid) != new.encode()

    run(test)


def test_a_certificate_is_for_the_sensor_whatever_it_asked_for(run: Run) -> None:
    async def test(server: Enrolling) -> None:
        uuid, key = uuid4(), ec.generate_private_key(ec.SECP256R1())
        answer = await server.enroll(uuid, token=await server.token(), csr=request_for(key))
        certificate = x509.load_pem_x509_certificate(answer["certificate"].encode())
        assert certificate.subject.rfc4514_string() == f"CN={uuid}"
        given = certificate.public_key()
        assert isinstance(given, ec.EllipticCurvePublicKey)
        assert given.public_numbers() == key.public_key().public_numbers()

    run(test)


def test_a_csr_that_is_none_is_refused_before_the_token_is_used(run: Run) -> None:
    async def test(server: Enrolling) -> None:
        uuid, token = uuid4(), await server.token()
        good = request_for(ec.generate_private_key(ec.SECP256R1()))
        for csr in (
            "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
            request_for(ec.generate_private_key(ec.SECP384R1())),
            request_for(rsa.generate_private_key(65537, 2048)),
            good[:-60] + good[-60:].replace(good[-45], "A" if good[-45] != "A" else "B", 1),
            "x",
        ):
            assert (await server.enroll(uuid, token=token, csr=csr))["status"] == "refused"
        assert (await server.enroll(uuid, token=token))["status"] == "approved"

    run(test)


def test_without_a_ca_of_their_own_sensors_get_no_certificate(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(server: Enrolling) -> None:
        (server.directory / "tls" / "clients.key").unlink()
        csr = request_for(ec.generate_private_key(ec.SECP256R1()))
        answer = await server.enroll(uuid4(), token=await server.token(), csr=csr)
        assert answer["status"] == "approved" and "certificate" not in answer
        assert "clients.key" in caplog.text

    run(test)


def test_without_a_ca_nobody_enrols_and_no_token_is_used(run: Run) -> None:
    async def test(server: Enrolling) -> None:
        token, client = await server.token(), await server.connect()
        (server.directory / "ca.pem").unlink()
        client.say(op="enroll", uuid=str(uuid4()), name="x", claim=CLAIM, token=token)
        assert f"{server.directory}/ca.pem" in (await client.hear())["reason"]
        assert await server.redis.keys("*") == await server.redis.keys("d4:{sensors}:token*") != []

    run(test)


def test_what_strangers_leave_behind_is_bounded(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(admission, "MOST_PENDING", 25)

    async def test(server: Enrolling) -> None:
        for _ in range(30):
            await server.enroll(uuid4())
        assert await server.redis.zcard("d4:{sensors}:pending") == admission.MOST_FROM_ORIGIN
        answer = await server.enroll(uuid4())
        assert answer["status"] == "refused" and "same network" in answer["reason"]
        outcomes = []
        for number in range(30):  # from many places
            asked = enrolling.Enroll(uuid4(), "x", CLAIM)
            try:
                outcomes.append(await admission.enroll(server.redis, asked, f"2001:db8:0:{number}::1"))
            except sensors.Refused as refusal:
                assert "token" in str(refusal), "says how to get in all the same"
        assert len(outcomes) == 25 - admission.MOST_FROM_ORIGIN
        assert await server.redis.zcard("d4:{sensors}:pending") == 25
        keys = await server.redis.keys("d4:*")
        assert len(keys) <= 2 * 25 + 1
        for key in keys:
            if key != b"d4:{sensors}:pending":
                assert 0 < await server.redis.ttl(key) <= admission.LIFETIME
        refusals = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert len(refusals) == 1, "one line for all"
        assert (await server.enroll(uuid4(), token=await server.token()))["status"] == "approved"

    run(test)


def test_who_waits_is_forgotten_after_a_day(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(server: Enrolling) -> None:
        monkeypatch.setattr(admission, "MOST_FROM_ORIGIN", 1)
        monkeypatch.setattr(admission, "LIFETIME", 1)
        first = uuid4()
        client = await server.connect()
        client.say(op="enroll", uuid=str(first), name="x", claim=CLAIM)
        assert (await client.hear())["status"] == "pending"
        assert (await client.hear())["status"] == "refused", "it has waited for too long"
        second = uuid4()
        while (await server.enroll(second))["status"] == "refused":
            await asyncio.sleep(0.05)
        assert [sensor.uuid for sensor in await sensors.known(server.redis)] == [second]

    run(test)


def test_connections_are_bounded_and_one_that_says_nothing_is_closed(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enrolment, "MOST_FROM_ORIGIN", 3)
    monkeypatch.setattr(enrolment, "REQUEST_TIME", 0.5)

    async def test(server: Enrolling) -> None:
        clients = [await server.connect() for _ in range(3)]
        context = ssl.create_default_context(cafile=server.directory / "ca.pem")
        context.set_alpn_protocols([enrolling.ALPN_ENROLL])
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
        assert json.loads(await reader.readline())["status"] == "refused"
        writer.close()
        for client in clients:
            assert await client.hear() == {}
        assert (await server.enroll(uuid4()))["status"] == "pending", "there is room again"

    run(test)


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        ({"op": "enrol"}, "lacks"),
        ({"op": "done"}, "before it had asked"),
        ({"op": "enroll", "uuid": "x", "name": "x", "claim": CLAIM}, "uuid must be a UUID"),
        ({"op": "enroll", "uuid": str(uuid4()), "name": "a\nb", "claim": CLAIM}, "printable"),
        ({"op": "enroll", "uuid": str(uuid4()), "name": "x" * 65, "claim": CLAIM}, "printable"),
        ({"op": "enroll", "uuid": str(uuid4()), "name": "x", "claim": "short"}, "claim must be 64"),
        ({"op": "enroll", "uuid": str(uuid4()), "name": "x"}, "claim must be there"),
        ({"op": "renew", "uuid": str(uuid4())}, "proof must be there"),
    ],
)
def test_what_is_wrong_with_a_request_is_said(run: Run, members: dict[str, str], complaint: str) -> None:
    async def test(server: Enrolling) -> None:
        answer = await server.ask(**members)
        assert answer["status"] == "refused" and complaint in answer["reason"]
        assert not await server.redis.keys("*")

    run(test)


def test_a_line_without_an_end_is_refused(run: Run) -> None:
    async def test(server: Enrolling) -> None:
        client = await server.connect()
        client.writer.write(b" " * (enrolling.MAX_LINE + 1))
        assert "more than" in (await client.hear())["reason"]
        assert await client.hear() == {}

    run(test)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=st.binary(max_size=200) | st.lists(st.binary(max_size=30)).map(b"\n".join))
def test_whatever_a_stranger_says_is_answered_or_closed(
    run: Run, caplog: pytest.LogCaptureFixture, said: bytes
) -> None:
    async def test(server: Enrolling) -> None:
        client = await server.connect()
        client.writer.write(said + b"\n")
        assert (await client.hear()).get("status", "refused") == "refused"
        client.writer.transport.abort()

    run(test)
    assert not re.search("Traceback|exception", caplog.text, re.IGNORECASE)


def test_redis_that_does_not_work_is_logged_and_the_next_is_served(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(server: Enrolling) -> None:
        await server.redis.set("d4:{sensors}", "not a set")
        assert await server.enroll(uuid4(), token=await server.token()) == {}
        await until(lambda: "Redis does not work" in caplog.text)
        await server.redis.delete("d4:{sensors}")
        assert (await server.enroll(uuid4(), token=await server.token()))["status"] == "approved"

    run(test)
