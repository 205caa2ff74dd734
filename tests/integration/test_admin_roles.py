"""Who may see and do what on the page for administrators: every route, every role."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from administering import Administration, must_have_headers, page_alone
from operating import do

from d4server.actor import ADMINS, EVERYBODY, OPERATORS, VIEWERS, Role
from d4server.web.pages import ROUTES

ALLOWED = {
    VIEWERS: (
        "/sensors /sensors/{uuid} /sensors/groups /sensors/watched /queues /queues/{name} /types /blacklist"
    ),
    OPERATORS: (
        "/sensors/add /sensors/{uuid}/approve /sensors/{uuid}/rename /sensors/{uuid}/describe "
        "/sensors/{uuid}/group /sensors/{uuid}/watch /sensors/{uuid}/cap /sensors/{uuid}/kick "
        "/sensors/{uuid}/rotate /sensors/{uuid}/revoke /sensors/{uuid}/remove "
        "/sensors/enrolment /sensors/enrolment/issue /sensors/enrolment/{id}/withdraw "
        "/sensors/groups/create /sensors/groups/{name}/delete "
        "/queues/-/create /queues/{name}/describe /queues/{name}/group /queues/{name}/cap "
        "/queues/{name}/pause /queues/{name}/resume /queues/{name}/empty /queues/{name}/delete "
        "/types/accept /types/{type}/refuse /types/{type}/describe /types/{type}/forget "
        "/blacklist/add /blacklist/remove"
    ),
    ADMINS: (
        "/users /users/-/create /users/{name} /users/{name}/role /users/{name}/password "
        "/users/{name}/totp/remove /users/{name}/disable /users/{name}/enable /users/{name}/delete "
        "/users/{name}/sessions/{id}/end /audit"
    ),
    EVERYBODY: (
        "/ /password /theme /profile /profile/totp /profile/totp/confirm /profile/totp/remove "
        "/profile/sessions/{id}/end /tokens /tokens/create /tokens/{id}/revoke /logout"
    ),
}
"""By who may, the paths of all routes."""

WHO = {path: roles for roles, paths in ALLOWED.items() for path in paths.split()}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Administration]:
    with page_alone(tmp_path_factory.mktemp("page")) as made:
        yield made


def test_the_table_has_every_route() -> None:
    assert set(WHO) == {route.path for route in ROUTES}


@pytest.fixture
def names(page: Administration) -> dict[str, str]:
    """What stands in paths for what they have in braces, by room: of everything there is one."""
    path = page.server.redis_path
    for room, values in (("queues", {"type": "maltrail"}), ("groups", {}), ("users", {})):
        if not any(each.name == "some" for each in _items(do(path, f"{room}.list"))):
            do(path, f"{room}.create", name="some", **values)
    do(path, "types.accept", type="77")
    uuid = str(do(path, "sensors.add", name="some").uuid)
    do(path, "sensors.watch", uuid=uuid, silence="1h")
    return {"{uuid}": uuid, "{name}": "some", "{type}": "77", "{id}": "0" * 16}


def _items(found: object) -> list[object]:
    return list(getattr(found, "items", found) if not isinstance(found, list) else found)


def filled(path: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        path = path.replace(name, value)
    return path


@pytest.mark.parametrize("role", list(Role))
def test_every_route_and_role(page: Administration, names: dict[str, str], role: Role) -> None:
    """What a role may not do is refused; no form is taken without its token."""
    looking, sending = page.logged_in(role), page.logged_in(role)
    csrf = sending.ask("/password").csrf()
    for route in sorted(ROUTES, key=lambda route: (route.method, route.path == "/logout")):
        path, allowed = filled(route.path, names), role in WHO[route.path]
        if route.method == "GET":
            answers = [looking.ask(path)]
        else:
            refused = looking.ask(path, "POST", {"csrf": "0" * 64})
            assert refused.status == 403, path
            answers = [refused, sending.ask(path, "POST", {"csrf": csrf})]
        for answer in answers:
            must_have_headers(answer)
        assert answers[-1].status < 500, path
        assert (answers[-1].status == 403) == (not allowed), (route.method, path, answers[-1].status)


@pytest.mark.parametrize("role", list(Role))
def test_no_page_shows_a_way_to_what_is_not_allowed(
    page: Administration, names: dict[str, str], role: Role
) -> None:
    visitor = page.logged_in(role)
    known = [(re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))), path) for path in WHO]
    for route in ROUTES:
        if route.method != "GET" or role not in WHO[route.path]:
            continue
        shown = visitor.ask(filled(route.path, names)).text
        for link in re.findall(r'(?:href|action)="(/[^"?]*)', shown):
            leads_to = [link] if link in WHO else [path for pattern, path in known if pattern.fullmatch(link)]
            assert all(role in WHO[path] for path in leads_to), (route.path, link)
    assert visitor.ask("/").headers["Location"] == "/profile" if role is Role.REGISTRAR else True


def test_who_is_no_admin_makes_tokens_of_lesser_roles_for_oneself(page: Administration) -> None:
    def offered(role: Role) -> tuple[list[str], bool]:
        form = page.logged_in(role).ask("/tokens/create").text
        return re.findall(r"<option(?: selected)?>(\w+)</option>", form), 'name="user"' in form

    assert offered(Role.ADMIN) == (["admin", "operator", "viewer", "registrar"], True)
    assert offered(Role.OPERATOR) == (["operator", "viewer", "registrar"], False)
    assert offered(Role.VIEWER) == (["viewer"], False)
    visitor = page.logged_in(Role.VIEWER)
    refused = visitor.send("/tokens/create", name="x", role="viewer", user="admin", valid="1h")
    assert refused.status == 403
    beyond = visitor.send("/tokens/create", name="x", role="operator", valid="1h")
    assert beyond.status == 409 and 'role="alert"' in beyond.text and 'value="1h"' in beyond.text
