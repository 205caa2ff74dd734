"""The page of one operation that changes something: a form, or words to confirm, and what came of it.

A room of pages lists its actions; each is a page of its own, which GET shows and POST does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from aiohttp import web

from d4server.operations import Failed, Forbidden, Invalid, Missing, all_operations, results
from d4server.web import forms
from d4server.web.forms import Field
from d4server.web.visit import DONE, Route, Visit, go_to

MAKE = "make"
"""Name of the button that makes a value, and changes nothing."""

MOST_SUGGESTED = 200
"""Names that a box suggests."""


@dataclass(frozen=True)
class Action:
    """What the page of an operation says. In ``path``, ``title``, ``words`` and ``back``, {name} stands for
    what is in the path of the page that was asked for.
    """

    operation: str
    path: str
    title: str
    button: str
    back: str
    """Where one goes instead, and afterwards, unless ``after`` is elsewhere."""
    done: str
    """The sentence that says so afterwards."""
    words: str = ""
    """What it means, for who is about to do it."""
    destroys: bool = False
    hints: Mapping[str, str] = field(default_factory=dict)
    """A few words beneath the box, by parameter."""
    fixed: Mapping[str, str] = field(default_factory=dict)
    """Values that nobody is asked for."""
    suggests: Mapping[str, str] = field(default_factory=dict)
    """By parameter, the operation that lists what may be typed, by ``name``."""
    makes: str = ""
    """The parameter whose box has a button that makes a UUID for it."""
    boxes: Callable[[Visit, Sequence[Field]], Sequence[Field]] | None = None
    """The boxes as this visitor can use them."""
    reads: str = ""
    """The operation that says what the boxes hold at first: attributes of their names, or as ``called``."""
    called: Mapping[str, str] = field(default_factory=dict)
    secret: str = ""
    """The attribute of the result that is shown once, with what else there is in it, if it is there."""
    secret_words: str = ""
    """What to do with it."""
    shown_by: str = "secret.html"
    after: str = ""
    """In it, {name} stands for what is in the result, too."""
    template: str = "action.html"
    """One that extends it, where it takes more to decide; it knows as ``found`` what was read."""


_known: list[Action] = []


def known() -> Sequence[Action]:
    """All of every room."""
    return _known


def routes(actions: Sequence[Action]) -> list[Route]:
    """The pages of these actions."""
    _known.extend(actions)
    DONE.update((action.operation, action.done) for action in actions)
    return [
        route
        for action in actions
        for route in (
            Route("GET", action.path, partial(_ask, action)),
            Route("POST", action.path, partial(_do, action)),
        )
    ]


async def _ask(action: Action, visit: Visit) -> web.StreamResponse:
    """The form. What stands behind the question mark is in its boxes, so that other pages can fill it."""
    _must_be_allowed(action, visit)
    found = await _read(action, visit)
    values = {name: getattr(found, action.called.get(name, name), None) for name in _names(action)}
    return await _page(action, visit, found, {**values, **visit.query})


async def _do(action: Action, visit: Visit) -> web.StreamResponse:
    """The form, sent."""
    if action.makes and MAKE in visit.form:
        _must_be_allowed(action, visit)
        return await _page(action, visit, None, {**visit.form, action.makes: str(uuid4())})
    values = forms.values(all_operations()[action.operation], visit.form)
    try:
        result = await visit.perform(action.operation, **{**values, **action.fixed, **visit.names})
    except Invalid as error:
        elsewhere = {name: text for name, text in error.problems.items() if name not in _asked(action, visit)}
        failure = "; ".join(f"{name} {text}" for name, text in elsewhere.items())
        found = await _read(action, visit)
        return await _page(action, visit, found, visit.form, 422, error.problems, failure)
    except (Forbidden, Missing):
        raise
    except Failed as error:
        found = await _read(action, visit)
        return await _page(action, visit, found, visit.form, 409, failure=str(error))
    shown = results.to_json(result) or {}
    after = _fill_path(action.after or action.back, {**shown, **visit.names})
    if action.secret and shown.get(action.secret):
        return visit.show(
            action.shown_by, title=action.done, shown=shown, words=action.secret_words, back=after
        )
    return go_to(after, done=action.operation)


def _must_be_allowed(action: Action, visit: Visit) -> None:
    """Raises Forbidden before anything is shown of it."""
    if not visit.may(action.operation):
        raise Forbidden(f"Your role, {visit.actor.role}, does not allow it.")


async def _read(action: Action, visit: Visit) -> Any:
    """What the page knows of what it is about."""
    return await visit.perform(action.reads, **visit.names) if action.reads else None


async def _page(
    action: Action,
    visit: Visit,
    found: Any,
    values: Mapping[str, Any],
    status: int = 200,
    problems: Mapping[str, str] | None = None,
    failure: str = "",
) -> web.Response:
    known = {*visit.names, *action.fixed}
    fields: Sequence[Field] = [
        each._replace(suggestions=await _suggested(action, visit, each.name), makes=each.name == action.makes)
        for each in forms.fields(
            all_operations()[action.operation], values, problems or {}, action.hints, known
        )
    ]
    if action.boxes:
        fields = action.boxes(visit, fields)
    return visit.show(
        action.template,
        status,
        action=action,
        found=found,
        title=_fill(action.title, visit),
        words=_fill(action.words, visit),
        back=_fill_path(action.back, visit.names),
        fields=fields,
        failure=failure,
    )


async def _suggested(action: Action, visit: Visit, parameter: str) -> tuple[str, ...]:
    """What may be typed into a box, as far as there are names of it."""
    if parameter not in action.suggests:
        return ()
    found = await visit.perform(action.suggests[parameter])
    return tuple(each.name for each in found[:MOST_SUGGESTED])


def _names(action: Action) -> list[str]:
    return [parameter.name for parameter in all_operations()[action.operation].parameters]


def _asked(action: Action, visit: Visit) -> set[str]:
    """The parameters that the form has a box for."""
    return {*_names(action)} - {*visit.names} - {*action.fixed}


def _fill(text: str, visit: Visit) -> str:
    for name, value in visit.names.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _fill_path(path: str, names: Mapping[str, Any]) -> str:
    for name, value in names.items():
        path = path.replace(f"{{{name}}}", quote(str(value), safe=""))
    return path
