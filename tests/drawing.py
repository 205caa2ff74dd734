"""Values that fit a JSON Schema, as far as the API's document needs it, drawn by hypothesis; and junk."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def fitting(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values for which a schema holds."""
    if "anyOf" in schema:
        return st.one_of([fitting(each) for each in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    return _OF_TYPE[schema["type"]](schema)


def _text(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    least, most = schema.get("minLength", 0), schema.get("maxLength", 100)
    drawn = st.from_regex(schema["pattern"], fullmatch=True) if "pattern" in schema else st.text()
    return drawn.filter(lambda text: least <= len(text) <= most)


def _object(schema: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    drawn = {name: fitting(each) for name, each in schema["properties"].items()}
    required = {name: drawn.pop(name) for name in schema.get("required", ())}
    return st.fixed_dictionaries(required, optional=drawn)


_OF_TYPE = {
    "string": _text,
    "integer": lambda schema: st.integers(schema.get("minimum"), schema.get("maximum")),
    "number": lambda schema: st.floats(schema.get("minimum"), schema.get("maximum")),
    "boolean": lambda schema: st.booleans(),
    "array": lambda schema: st.lists(fitting(schema["items"]), max_size=3),
    "object": _object,
}
