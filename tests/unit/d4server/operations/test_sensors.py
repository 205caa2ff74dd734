"""Operations about sensors, with a real Redis."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID, uuid4

import pytest
from operating import do, with_redis
from redis.asyncio import Redis

from d4common.enrolling import Enroll
from d4server import admission, monitoring, sensors
from d4server.operations import Failed, Forbidden, Missing, Role
from d4server.operations.sensors import SensorDetail
from d4server.statistics import Statistics

ADDRESS = "198.51.100.7"


def add(path: Path, name: str = "") -> UUID:
    """A sensor that may connect."""
    uuid: UUID = do(path, "sensors.add", name=name).uuid
    return uuid


def hear(path: Path, *uuids: UUID) -> None:
    """Has sensors sent two packets of three records each, and one of them been refused once."""

    async def write(redis: Redis) -> None:
        statistics = Statistics()
        for uuid in uuids:
            statistics.data(uuid, ADDRESS, "maltrail", 1, b"a\nb\nc\n")
            statistics.data(uuid, ADDRESS, "maltrail", 1, b"d\ne\nf\n")
        statistics.refused("hmac", ADDRESS, uuids[0])
        await statistics.write(redis, 90)

    with_redis(path, write)


def names(path: Path, **values: object) -> list[str]:
    """The names of the sensors on a list."""
    return [each.name for each in do(path, "sensors.list", Role.VIEWER, **values).items]


def keys(path: Path, uuid: UUID) -> tuple[bytes, ...]:
    """The keys by which a sensor may connect."""
    return with_redis(path, lambda redis: sensors.keys_of(redis, uuid))


def test_a_key_that_was_made_is_in_the_answer_and_one_that_was_given_is_not(redis_socket: Path) -> None:
    made = do(redis_socket, "sensors.add", Role.OPERATOR)
    assert keys(redis_socket, made.uuid) == (made.key.encode(),)
    uuid = uuid4()
    assert do(redis_socket, "sensors.add", uuid=str(uuid), key="its own").key is None
    assert keys(redis_socket, uuid) == (b"its own",)


def test_lists_are_searched_sorted_and_paged(redis_socket: Path) -> None:
    for number in range(12):
        add(redis_socket, f"Sensor {number:02}")
    last = add(redis_socket)
    hear(redis_socket, last)
    assert names(redis_socket, size=10) == [f"Sensor {number:02}" for number in range(10)]
    assert names(redis_socket, size=10, page=2) == ["Sensor 10", "Sensor 11", ""]
    assert names(redis_socket, sort="-name")[0] == "Sensor 11"
    assert names(redis_socket, search="sensor 03") == ["Sensor 03"]
    assert names(redis_socket, state="pending") == []
    assert names(redis_socket, group="none") == []
    [found] = do(redis_socket, "sensors.list", search=ADDRESS).items
    assert (found.uuid, found.packets, found.bytes, found.address) == (last, 2, 12, ADDRESS)
    assert do(redis_socket, "sensors.list", sort="-seen").items[0] == found
    assert do(redis_socket, "sensors.list", search=str(last)[:13]).total == 1


def test_one_sensor_and_what_it_did(redis_socket: Path) -> None:
    uuid = add(redis_socket, "north")
    hear(redis_socket, uuid)
    do(redis_socket, "sensors.describe", uuid=str(uuid), description="at the gate\nask Eve")
    do(redis_socket, "blacklist.add", entry=str(uuid))
    found: SensorDetail = do(redis_socket, "sensors.show", Role.VIEWER, uuid=str(uuid))
    assert (found.uuid, found.name, found.state) == (uuid, "north", "approved")
    assert found.description == "at the gate\nask Eve"
    assert found.blacklisted
    [type] = found.types
    assert (type.type, type.packets, type.bytes, type.records) == ("maltrail", 2, 12, 6)
    [address] = found.addresses
    assert (address.address, address.first) == (ADDRESS, found.history[-1].date)
    [refusal] = found.refusals
    assert (refusal.reason, refusal.connections) == ("hmac", 1)
    assert "the key does not fit" in refusal.words
    assert found.first_seen == found.seen == found.history[-1].last
    assert len(found.history) == 30
    assert found.rates.packets > 0


def test_a_sensor_that_waits_is_approved(redis_socket: Path) -> None:
    request = Enroll(uuid4(), "east", "0" * 64, None, None)
    with_redis(redis_socket, lambda redis: admission.enroll(redis, request, ADDRESS))
    [waiting] = do(redis_socket, "sensors.list", state="pending").items
    assert (waiting.name, len(waiting.code)) == ("east", 9)
    do(redis_socket, "sensors.approve", Role.OPERATOR, uuid=str(request.uuid))
    assert names(redis_socket, state="approved") == ["east"]
    with pytest.raises(Failed, match="is approved already"):
        do(redis_socket, "sensors.approve", uuid=str(request.uuid))


def test_whom_a_registrar_registers_waits_with_its_key(redis_socket: Path) -> None:
    uuid = uuid4()
    about = {"uuid": uuid.hex, "hmac_key": "its key", "mail": "eve@example.org", "third_party": "CERT"}
    assert do(redis_socket, "sensors.register", Role.REGISTRAR, **about).uuid == uuid.hex
    found = do(redis_socket, "sensors.show", uuid=str(uuid))
    assert (found.state, found.mail, found.third_party) == ("pending", "eve@example.org", "CERT")
    assert keys(redis_socket, uuid) == ()
    with pytest.raises(Failed, match="is registered already"):
        do(redis_socket, "sensors.register", Role.REGISTRAR, **about)
    [waiting] = with_redis(redis_socket, sensors.known)
    assert (waiting.state, waiting.source, waiting.code) == ("pending", "", "")
    do(redis_socket, "sensors.approve", uuid=str(uuid))
    assert keys(redis_socket, uuid) == (b"its key",)
    [inside] = with_redis(redis_socket, sensors.known)
    assert (inside.state, inside.source) == ("approved", "approved")


def test_a_stranger_can_do_nothing_to_one_that_is_registered(redis_socket: Path) -> None:
    uuid = uuid4()
    do(redis_socket, "sensors.register", uuid=str(uuid), hmac_key="its key")
    for token in (None, do(redis_socket, "enrolment.issue").token):
        request = Enroll(uuid, "mine", "0" * 64, token, None)
        with pytest.raises(sensors.Refused, match="is registered with a key"):
            with_redis(redis_socket, lambda redis, r=request: admission.enroll(redis, r, ADDRESS))
    do(redis_socket, "sensors.revoke", uuid=str(uuid))
    with pytest.raises(Failed, match="is revoked"):
        do(redis_socket, "sensors.approve", uuid=str(uuid))


def test_what_is_done_with_a_sensor(redis_socket: Path) -> None:
    uuid = add(redis_socket, "north")
    do(redis_socket, "sensors.rename", uuid=str(uuid), name="south")
    assert names(redis_socket) == ["south"]
    former = keys(redis_socket, uuid)
    made = do(redis_socket, "sensors.rotate", uuid=str(uuid))
    assert keys(redis_socket, uuid) == (made.key.encode(), *former)
    do(redis_socket, "sensors.kick", uuid=str(uuid), span="1min")
    do(redis_socket, "sensors.revoke", uuid=str(uuid))
    assert names(redis_socket, state="revoked") == ["south"]
    do(redis_socket, "sensors.remove", uuid=str(uuid))
    assert names(redis_socket) == []


@pytest.mark.parametrize(
    ("verb", "values"),
    [
        ("show", {}),
        ("rename", {"name": "a"}),
        ("describe", {"description": "a"}),
        ("kick", {}),
        ("revoke", {}),
        ("remove", {}),
    ],
)
def test_what_is_not_there_is_missing(verb: str, values: dict[str, str], redis_socket: Path) -> None:
    with pytest.raises(Missing, match="is not a known sensor"):
        do(redis_socket, f"sensors.{verb}", uuid=str(uuid4()), **values)
    assert names(redis_socket) == []


def test_a_registrar_registers_and_no_more(redis_socket: Path) -> None:
    with pytest.raises(Forbidden):
        do(redis_socket, "sensors.list", Role.REGISTRAR)
    with pytest.raises(Forbidden):
        do(redis_socket, "sensors.register", Role.VIEWER, uuid=str(uuid4()), hmac_key="a")


def test_tokens_are_listed_until_they_are_used_and_can_be_withdrawn(redis_socket: Path) -> None:
    first = do(redis_socket, "enrolment.issue", name="north", valid="1h").token
    do(redis_socket, "enrolment.issue", valid="2h")
    listed = do(redis_socket, "enrolment.list")
    assert [each.name for each in listed] == ["north", ""]
    assert first not in str(listed)
    request = Enroll(uuid4(), "", "0" * 64, first, None)
    with_redis(redis_socket, lambda redis: admission.enroll(redis, request, ADDRESS))
    [left] = do(redis_socket, "enrolment.list")
    do(redis_socket, "enrolment.withdraw", id=left.id)
    assert do(redis_socket, "enrolment.list") == []
    with pytest.raises(Missing):
        do(redis_socket, "enrolment.withdraw", id=left.id)


def test_groups_are_made_joined_and_left(redis_socket: Path) -> None:
    uuid = add(redis_socket, "north")
    for name in ("gates", "labs"):
        do(redis_socket, "groups.create", name=name)
    do(redis_socket, "sensors.group", uuid=str(uuid), groups=["gates", "labs"])
    do(redis_socket, "sensors.group", uuid=str(uuid), groups="labs")
    assert [tuple(each) for each in do(redis_socket, "groups.list")] == [("gates", 0), ("labs", 1)]
    assert names(redis_socket, group="labs") == names(redis_socket, search="LABS") == ["north"]
    with pytest.raises(Failed, match="there is no group halls"):
        do(redis_socket, "sensors.group", uuid=str(uuid), groups=["halls"])
    do(redis_socket, "sensors.remove", uuid=str(uuid))
    assert [tuple(each) for each in do(redis_socket, "groups.list")] == [("gates", 0), ("labs", 0)]
    do(redis_socket, "groups.delete", name="labs")
    with pytest.raises(Failed, match="there is no group labs"):
        do(redis_socket, "groups.delete", name="labs")


def test_who_is_silent_for_too_long(redis_socket: Path) -> None:
    uuid = add(redis_socket)
    assert do(redis_socket, "sensors.errors", Role.VIEWER) == []
    with_redis(redis_socket, lambda redis: monitoring.watch(redis, uuid, -1))
    assert do(redis_socket, "sensors.errors", Role.VIEWER) == [uuid.hex]


def test_a_sensor_gets_a_cap_and_a_limit_of_silence(redis_socket: Path) -> None:
    uuid = str(add(redis_socket))
    do(redis_socket, "sensors.cap", uuid=uuid, bytes="10M")
    do(redis_socket, "sensors.watch", uuid=uuid, silence="2h")
    shown = do(redis_socket, "sensors.show", uuid=uuid)
    assert (shown.cap, shown.silence) == (10 << 20, 7200)
    assert [each.limit for each in do(redis_socket, "sensors.watched", Role.VIEWER)] == [7200]
    do(redis_socket, "sensors.cap", uuid=uuid)
    do(redis_socket, "sensors.watch", uuid=uuid)
    shown = do(redis_socket, "sensors.show", uuid=uuid)
    assert (shown.cap, shown.silence) == (None, None)
    for verb in ("cap", "watch"):
        with pytest.raises(Missing):
            do(redis_socket, f"sensors.{verb}", uuid=str(uuid4()))
