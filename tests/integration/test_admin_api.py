"""The API: real HTTPS, a real Redis, and every answer as the OpenAPI document that it serves says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest
from answering import LARGEST_BODY, Client, serving
from conftest import Certificates
from drawing import JUNK, fitting
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from operating import do
from redis import Redis

from d4server.actor import Role
from d4server.operations import Failed, Operation, all_operations
from d4server.web import openapi

pytestmark = pytest.mark.usefixtures("cheap_hashes")

OPERATIONS = all_operations()


@pytest.fixture(scope="module")
def client(redis_server: Path, certificates: Certificates) -> Iterator[Client]:
    """One that speaks to the API; what one test leaves in Redis is there for the others."""
    with Redis(unix_socket_path=str(redis_server)) as redis:
        redis.flushall()
    files = certificates
    with serving(redis_server, files.certificate, files.key, files.ca) as made:
        yield made


@pytest.fixture
def admin(client: Client) -> str:
    """An admin's token."""
    return client.token(Role.ADMIN)


def test_the_document_is_served_without_a_token_and_has_every_operation(client: Client) -> None:
    document = client.document
    assert document["openapi"] == "3.1.0"
    served = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert served == {(each.method, each.path) for each in OPERATIONS.values()}
    assert len(served) == len(OPERATIONS)


def test_a_sensor_is_registered_as_upstream_does_it(client: Client) -> None:
    token, uuid = client.token(Role.REGISTRAR), uuid4()
    body = {"uuid": str(uuid), "hmac_key": "its key", "mail": "eve@example.org", "third_party": "CERT"}
    register = "POST", "/add/sensor/register"
    answer = client.ask(*register, body=body, Authorization=token)
    assert (answer.status, answer.body) == (200, {"uuid": uuid.hex})
    assert client.ask(*register, token, body).status == 409
    assert client.ask(*register, token, {**body, "uuid": "none"}).status == 400
    assert client.ask(*register, token, {"uuid": str(uuid4())}).body["errors"] == {"hmac_key": "is missing"}
    assert client.ask(*register, body=body).status == 401
    assert client.ask(*register, client.token(Role.VIEWER), body).status == 403
    assert do(client.redis, "sensors.show", uuid=str(uuid)).state == "pending"


def test_who_is_silent_is_told_as_upstream_does_it(client: Client) -> None:
    answer = client.ask("GET", "/sensors/monitoring/errors", client.token(Role.VIEWER))
    assert answer.status == 200
    assert isinstance(answer.body, list)


def test_lists_are_asked_by_query_and_changes_are_seen_at_once(client: Client, admin: str) -> None:
    assert client.do("sensors.list", admin, query={"search": "north"}).body["total"] == 0
    added = client.do("sensors.add", admin, body={"name": "north"}).body
    found = client.do("sensors.list", admin, query={"search": "north", "size": "10"}).body
    assert [each["uuid"] for each in found["items"]] == [added["uuid"]]
    path = f"/sensors/{added['uuid']}"
    assert client.do("sensors.show", admin, path).body["name"] == "north"
    assert client.do("sensors.rename", admin, f"{path}/rename", body={"name": "south"}).status == 204
    assert client.do("sensors.show", admin, path).body["name"] == "south"
    assert client.do("sensors.remove", admin, path).status == 204
    assert client.do("sensors.show", admin, path).status == 404


def test_the_tutorial_of_a_queue(client: Client, admin: str) -> None:
    name = str(uuid4())
    made = client.do("queues.create", admin, body={"type": "maltrail", "name": name})
    assert made.body == {"name": name, "type": "maltrail"}
    assert client.do("queues.create", admin, body={"type": "maltrail", "name": name}).status == 409
    assert client.do("queues.sample", admin, f"/queues/{name}/sample").body == []
    assert client.do("queues.list", admin, query={"search": name}).body["items"][0]["lag"] == 0
    assert name in [each["name"] for each in client.do("overview.show", admin).body["queues"]]
    assert client.do("queues.delete", admin, f"/queues/{name}").status == 204


@pytest.mark.parametrize(
    ("status", "method", "path", "body", "said"),
    [
        (404, "GET", "/nothing", None, "Nothing matches the given URI"),
        (405, "PUT", "/sensors", b"{}", "Specified method is invalid for this resource"),
        (400, "POST", "/sensors", b"{", "the body is not JSON"),
        (400, "POST", "/sensors", b'{"name": NaN}', "the body is not JSON"),
        (400, "POST", "/sensors", b"[" * 100_000, "the body is not JSON"),
        (400, "POST", "/sensors", b"[]", "the body must be an object of JSON"),
        (400, "POST", "/sensors", b'{"more": 1}', "more is not known here"),
        (400, "GET", "/sensors?size=9", None, "size must be a whole number from 10 to 200"),
        (400, "GET", "/sensors?page=1&page=2", None, "page is given more than once"),
        (400, "POST", f"/sensors/{UUID(int=4)}/rename", b'{"uuid": "x"}', "uuid stands in the path"),
        (413, "POST", "/sensors", b" " * (LARGEST_BODY + 1), "Maximum request body size"),
    ],
)
def test_what_cannot_be_is_a_problem(
    status: int, method: str, path: str, body: bytes | None, said: str, client: Client, admin: str
) -> None:
    answer = client.ask(method, path, admin, body)
    assert (answer.status, answer.body["status"]) == (status, status)
    assert answer.headers.get_content_type() == openapi.PROBLEM
    assert said in answer.body["detail"]


def test_a_body_must_say_that_it_is_json(client: Client, admin: str) -> None:
    answer = client.ask(
        "POST", "/sensors", admin, b"name=a", Content_Type="application/x-www-form-urlencoded"
    )
    assert answer.status == 415


def test_a_wrong_token_lets_nobody_in_and_many_are_too_many(client: Client, admin: str) -> None:
    missing = client.ask("GET", "/sensors")
    assert (missing.status, missing.body["detail"][:18]) == (401, "a token is missing")
    assert missing.headers["WWW-Authenticate"] == 'Bearer realm="d4-server"'
    answers = [client.do("sensors.list", "d4_wrong").status for _ in range(30)]
    assert answers[0] == 401
    assert answers[-1] == 429
    assert client.do("sensors.list", admin).status == 200


def test_while_redis_is_full_it_says_so(client: Client, admin: str) -> None:
    with Redis(unix_socket_path=str(client.redis)) as redis:
        redis.config_set("maxmemory", 1)
        try:
            assert client.do("sensors.add", admin, body={}).status == 503
            assert do(client.redis, "sensors.list").page == 1, "a look is possible"
        finally:
            redis.config_set("maxmemory", 0)
    assert client.do("sensors.add", admin, body={}).status == 200


VALUES = {"uuid": str(uuid4()), "name": "some-name", "id": "0" * 16, "type": "3", "user": "somebody"}


@pytest.mark.parametrize("role", Role)
def test_each_role_may_do_what_it_may_and_nothing_else(role: Role, client: Client) -> None:
    token = client.token(role)
    for operation in OPERATIONS.values():
        path = operation.path.format_map(
            {name: VALUES.get(name, "some") for name in openapi.in_path(operation)}
        )
        body = {"nothing": "known"} if openapi.has_body(operation) else None
        query = None if body else {"nothing": "known"}
        status = client.do(operation.name, token, path, query, body).status
        assert status == (400 if role in operation.roles else 403), operation.name


def test_a_viewer_can_do_less_than_an_operator_and_that_less_than_an_admin() -> None:
    allowed = {role: {name for name, each in OPERATIONS.items() if role in each.roles} for role in Role}
    assert allowed[Role.VIEWER] < allowed[Role.OPERATOR] < allowed[Role.ADMIN] == OPERATIONS.keys()
    changing = {name for name in allowed[Role.VIEWER] if OPERATIONS[name].changes}
    assert {name.partition(".")[0] for name in changing} <= {"account", "tokens"}, "only what is one's own"
    everybody = {name for name, each in OPERATIONS.items() if each.roles == frozenset(Role)}
    assert allowed[Role.REGISTRAR] - everybody == {"sensors.register"}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=list(OPERATIONS))
def test_whatever_is_asked_is_answered_as_documented(
    operation: Operation, client: Client, admin: str
) -> None:
    """Requests that fit the document, and others: no answer of 500, none that the document has not."""
    uuid = str(do(client.redis, "sensors.add").uuid)
    with suppress(Failed):
        do(client.redis, "queues.create", type="maltrail", name="some-name")
    there = {**VALUES, "uuid": uuid}
    documented = client.document["paths"][operation.path][operation.method.lower()]
    in_path = openapi.in_path(operation)
    body = documented.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    names = {each["name"]: each["schema"] for each in documented.get("parameters", ())}

    @settings(max_examples=12, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def ask(data: st.DataObject) -> None:
        path = {
            name: data.draw(st.just(there.get(name, "some")) | fitting(names[name]) | st.text(min_size=1))
            for name in in_path
        }
        query = {
            name: data.draw(fitting(schema) | st.text())
            for name, schema in names.items()
            if name not in in_path and data.draw(st.booleans())
        }
        sent = None if body is None else data.draw(fitting(body) | JUNK)
        quoted = {name: quote(value, safe="", errors="replace") for name, value in path.items()}
        if not {".", ".."} & set(quoted.values()):
            raw = None if sent is None else json.dumps(sent).encode()
            client.do(operation.name, admin, operation.path.format_map(quoted), query, raw)

    ask()
