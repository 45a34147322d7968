"""JSON schemas in the subset that the Messages API binds an answer to.

The whole schema is checked by the workflow; here it only has to be accepted, and to say as much as it can.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

from mcp_agent.workflows.llm.providers.anthropic.data import JSON

_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})
_MOST_OPTIONAL = 24
_MOST_UNIONS = 16
_COPIED = ("type", "title", "description", "enum", "const", "required", "$ref")
_TRANSLATED = frozenset({"properties", "items", "anyOf", "oneOf", "allOf", "$defs", "additionalProperties", "$schema"})


class Inexpressible(Exception):
    """A part of a schema that the subset cannot say."""


def accepted_schema(schema: JSON) -> JSON:
    """The schema in the subset; what has no place in it moves into descriptions, where the model may still read it.

    Raises:
        Inexpressible: It allows any value, an object with any keys, it holds itself, or it leaves more open than the API
            takes: 24 optional properties and 16 unions.
    """
    definitions = cast("JSON", schema.get("$defs") or {})
    _check_finite(schema, definitions, set())
    accepted = _accepted(schema)
    parts = list(_parts_of(accepted))
    optional = sum(len(part["properties"].keys() - set(part.get("required", []))) for part in parts if "properties" in part)
    if optional > _MOST_OPTIONAL or sum("anyOf" in part for part in parts) > _MOST_UNIONS:
        raise Inexpressible
    return accepted


def _accepted(schema: Any) -> JSON:
    if not isinstance(schema, dict):
        raise Inexpressible
    given = cast("JSON", schema)
    kind = given.get("type")
    if any(isinstance(value, list | dict) for value in [*given.get("enum", []), given.get("const")]):
        raise Inexpressible
    if isinstance(kind, list) and ("enum" in given or "const" in given):
        return _accepted({name: value for name, value in given.items() if name != "type"})
    if isinstance(kind, list):
        shared = {name: value for name, value in given.items() if name != "type"}
        return {"anyOf": [_accepted({**shared, "type": one}) for one in cast("list[Any]", kind)]}
    found = {name: given[name] for name in _COPIED if name in given}
    found |= _parts(given)
    if "$ref" in given:
        return {name: found[name] for name in ("$ref", "$defs") if name in found}
    if not found.keys() & {"type", "enum", "const", "anyOf", "allOf"}:
        raise Inexpressible
    if kind == "object":
        found |= _object(given)
    return _with_notes(found, given)


def _parts(given: JSON) -> JSON:
    found: JSON = {}
    if "$defs" in given:
        found["$defs"] = {name: _accepted(one) for name, one in given["$defs"].items()}
    for name, called in (("anyOf", "anyOf"), ("oneOf", "anyOf"), ("allOf", "allOf")):
        if name in given:
            found[called] = [_accepted(one) for one in given[name]]
    if "items" in given:
        found["items"] = _accepted(given["items"])
    elif given.get("type") == "array":
        raise Inexpressible
    return found


def _object(given: JSON) -> JSON:
    properties = given.get("properties")
    if not properties or isinstance(given.get("additionalProperties"), dict):
        raise Inexpressible
    return {"properties": {name: _accepted(one) for name, one in properties.items()}, "additionalProperties": False}


def _with_notes(found: JSON, given: JSON) -> JSON:
    notes: JSON = {}
    for name, value in given.items():
        if (name == "format" and value in _FORMATS) or (name == "minItems" and value in (0, 1)):
            found[name] = value
        elif name not in found and name not in _TRANSLATED:
            notes[name] = value
    if notes:
        text = json.dumps(notes, ensure_ascii=False)
        found["description"] = f"{found['description']}\n\n{text}" if found.get("description") else text
    return found


def _parts_of(accepted: JSON) -> Iterator[JSON]:
    yield accepted
    inner = [*accepted.get("$defs", {}).values(), *accepted.get("properties", {}).values()]
    inner += [*accepted.get("anyOf", []), *accepted.get("allOf", []), *([accepted["items"]] if "items" in accepted else [])]
    for part in inner:
        yield from _parts_of(part)


def _check_finite(value: Any, definitions: JSON, checked: set[str], within: tuple[str, ...] = ()) -> None:
    for name in _references(value):
        if name in within or name not in definitions:
            raise Inexpressible
        if name not in checked:
            _check_finite(definitions[name], definitions, checked, (*within, name))
            checked.add(name)


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, one in cast("JSON", value).items():
            if name == "$ref" and isinstance(one, str):
                yield one.removeprefix("#/$defs/")
            elif name != "$defs":
                yield from _references(one)
    elif isinstance(value, list):
        for one in cast("list[Any]", value):
            yield from _references(one)
