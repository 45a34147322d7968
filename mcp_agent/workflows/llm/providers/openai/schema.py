"""JSON schemas as OpenAI's strict mode takes them, in which the model cannot but follow the schema.

Strict mode knows a part of JSON schema: every object names all its properties and has them all. What only narrows values is
left out where strict mode does not know it, because whoever gets the answer validates it against the whole schema.
"""

from __future__ import annotations

from typing import Any, cast

_Schema = dict[str, Any]

_KEPT = frozenset(
    {
        *("type", "title", "description", "enum", "const", "pattern", "multipleOf", "minimum", "maximum"),
        *("exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems"),
    }
)
_LEFT_OUT = frozenset(
    {
        *("default", "examples", "minLength", "maxLength", "uniqueItems", "discriminator", "deprecated", "readOnly"),
        *("writeOnly", "$schema", "$id", "$comment", "minProperties", "maxProperties", "required", "contentEncoding"),
        *("contentMediaType",),
    }
)
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
_SAYS_WHAT = frozenset({"type", "enum", "const", "anyOf", "$ref"})


class _NotStrict(Exception):
    """The schema says what strict mode cannot say."""


def strict(schema: _Schema) -> _Schema | None:
    """The schema in the strict form, or `None` where it has none: free-form objects and values, tuples, conditions."""
    try:
        return _root(schema)
    except _NotStrict:
        return None


def _root(schema: _Schema) -> _Schema:
    definitions = _definitions(schema)
    body = {name: value for name, value in schema.items() if name not in ("$defs", "definitions")}
    if "$ref" in body:  # a recursive model; the root must be an object itself
        body = _target(body["$ref"], definitions)
    adapted = _adapted(body, definitions, frozenset())
    if adapted.get("type") != "object":
        raise _NotStrict
    for key in ("$defs", "definitions"):
        if key in schema:
            adapted[key] = {name: _adapted(one, definitions, frozenset({name})) for name, one in schema[key].items()}
    return adapted


def _definitions(schema: _Schema) -> _Schema:
    return {f"#/{key}/{name}": one for key in ("$defs", "definitions") for name, one in schema.get(key, {}).items()}


def _target(reference: str, definitions: _Schema) -> _Schema:
    found = definitions.get(reference)
    if not isinstance(found, dict):
        raise _NotStrict
    return cast("_Schema", found)


def _adapted(schema: Any, definitions: _Schema, inside: frozenset[str]) -> _Schema:
    """`inside` holds the references that are being written out, which can only be named again."""
    if not isinstance(schema, dict):
        raise _NotStrict
    plain = _one_of_one(cast("_Schema", schema))
    if "$ref" in plain:
        return _reference(plain, definitions, inside)
    found: _Schema = {}
    for key, value in plain.items():
        if key in _KEPT or (key == "format" and value in _FORMATS):
            found[key] = value
        elif key in ("anyOf", "oneOf"):
            found["anyOf"] = [_adapted(one, definitions, inside) for one in value]
        elif key == "items":
            found["items"] = _adapted(value, definitions, inside)
        elif key not in _LEFT_OUT and key not in ("format", "properties", "additionalProperties"):
            raise _NotStrict
    if plain.get("type") == "object" or "properties" in plain:
        found |= _object(plain, definitions, inside)
    if not _SAYS_WHAT & found.keys() or (plain.get("type") == "array" and "items" not in plain):
        raise _NotStrict
    return found


def _one_of_one(schema: _Schema) -> _Schema:
    only = schema.get("allOf")
    if not isinstance(only, list) or len(cast("list[Any]", only)) != 1:
        return schema
    rest = {key: value for key, value in schema.items() if key != "allOf"}
    return {**only[0], **rest}


def _reference(schema: _Schema, definitions: _Schema, inside: frozenset[str]) -> _Schema:
    """Strict mode allows nothing beside a reference: what is there is said of the written-out definition."""
    reference = schema["$ref"]
    target = _target(reference, definitions)
    beside = {key: value for key, value in schema.items() if key in ("title", "description")}
    if not beside or reference in inside:
        return {"$ref": reference}
    return _adapted({**target, **beside}, definitions, inside | {reference})


def _object(schema: _Schema, definitions: _Schema, inside: frozenset[str]) -> _Schema:
    properties = schema.get("properties")
    if not isinstance(properties, dict) or schema.get("additionalProperties") not in (None, False):
        raise _NotStrict
    named = cast("_Schema", properties)
    return {
        "type": "object",
        "properties": {name: _adapted(one, definitions, inside) for name, one in named.items()},
        "required": list(named),
        "additionalProperties": False,
    }
