"""MCP's forms: flat objects with fields of simple types, defaults (SEP-1034) and choices (SEP-1330). Pure.

Schemas may come from servers that nobody here wrote: what cannot be put as a form is `None`, never an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime
from typing import Any, TypeGuard, cast
from urllib.parse import urlsplit

ANSWER = "answer"
"""The only field of a form that asks for something else than an object."""
FREE_TEXT: dict[str, Any] = {
    "type": "object",
    "properties": {ANSWER: {"type": "string", "title": "Answer"}},
    "required": [ANSWER],
}
_MOST_REFERENCES = 8

_Node = Mapping[str, Any]
_NOTHING: _Node = {}


def form_of(schema: _Node | None) -> dict[str, Any] | None:
    """A JSON schema as MCP's `requestedSchema`; `None` where it is more than a form can ask.

    Enums behind `$ref` and values that may be null are put plainly; what is no object becomes the field `answer`; without a
    schema that field takes any text. Limits that forms do not have (patterns, exclusive bounds) are left out: answers are
    checked by the schema itself.
    """
    if not schema:
        return FREE_TEXT
    root, nullable = _resolved(schema, schema)
    if not _is_object(root):
        field = _field(root, schema)
        return None if field is None else _form({ANSWER: field}, [] if nullable else [ANSWER])
    if not isinstance(root.get("properties"), Mapping):
        return None
    fields = {name: _property(node, schema) for name, node in root["properties"].items()}
    if None in fields.values():
        return None
    required = root.get("required")
    return _form(fields, [name for name in fields if isinstance(required, list) and name in required])


def is_wrapped(schema: _Node | None) -> bool:
    """Whether the form of the schema has the field `answer` for the whole."""
    return not schema or not _is_object(_resolved(schema, schema)[0])


def field_names(schema: _Node | None) -> Collection[str]:
    """The fields of the object that the schema is of; of anything else none."""
    return _node(_resolved(schema, schema)[0].get("properties")).keys() if schema else ()


def takes_booleans(schema: _Node | None) -> bool:
    """Whether `false` is an answer to what has this schema."""
    return not schema or _resolved(schema, schema)[0].get("type") == "boolean"


def fitting(content: Any, form: _Node) -> dict[str, Any]:
    """The content of a form, with the defaults of fields that are left out.

    Raises:
        ValueError: It does not fit; the message names every field that is wrong.
    """
    if not isinstance(content, dict):
        raise ValueError("answer with an object that has the schema's fields, `true`, or `false` to decline")
    fields: Mapping[str, _Node] = form["properties"]
    required: list[str] = form.get("required", [])
    given = {name: value for name, value in cast("dict[str, Any]", content).items() if value is not None or name in required}
    defaults = {name: field["default"] for name, field in fields.items() if "default" in field}
    filled = {**defaults, **given}
    missing = [f"`{name}`: this field is required" for name in required if name not in filled]
    unknown = [f"`{name}`: there is no such field" for name in filled if fields and name not in fields]
    wrong = [f"`{name}`: {why}" for name, field in fields.items() if name in filled and (why := _problem(filled[name], field))]
    if problems := missing + unknown + wrong:
        raise ValueError("; ".join(problems))
    return filled


def _is_object(root: _Node) -> bool:
    return root.get("type", "object" if "properties" in root else None) == "object"


def _form(fields: dict[str, Any], required: list[Any]) -> dict[str, Any]:
    return {"type": "object", "properties": fields, **({"required": required} if required else {})}


# From a schema to a field


def _property(node: Any, root: _Node) -> dict[str, Any] | None:
    return _field(_resolved(_node(node), root)[0], root)


def _resolved(node: _Node, root: _Node) -> tuple[_Node, bool]:
    """The schema that a reference, or a choice between one and null, stands for; and whether null will do."""
    nullable = False
    for _ in range(_MOST_REFERENCES):
        beside = {name: value for name, value in node.items() if name not in ("$ref", "allOf", "anyOf")}
        if isinstance(node.get("$ref"), str):
            target = _target(node["$ref"], root)
        elif len(_nodes(node.get("allOf"))) == 1:
            target = _nodes(node["allOf"])[0]
        else:
            choices = [choice for choice in _nodes(node.get("anyOf")) if choice.get("type") != "null"]
            if not choices or (len(choices) > 1 and "const" in choices[0]):
                return node, nullable
            nullable = nullable or len(choices) < len(node["anyOf"])
            target = _only(choices)
        node = {**target, **beside}
    return {}, nullable


def _target(reference: str, root: _Node) -> _Node:
    found = root
    for part in reference.removeprefix("#").strip("/").split("/") if reference != "#" else ():
        found = _node(found.get(part))
    return found


def _only(choices: list[_Node]) -> _Node:
    """The one kind of value there is; for a number or text, as which pydantic takes decimals, text."""
    texts = [choice for choice in choices if choice.get("type") == "string"]
    numbers = [choice for choice in choices if choice.get("type") in ("number", "integer")]
    if len(texts) == 1 and len(texts) + len(numbers) == len(choices):
        return texts[0]
    return choices[0] if len(choices) == 1 else _NOTHING


def _node(value: Any) -> _Node:
    return cast("_Node", value) if isinstance(value, Mapping) else _NOTHING


def _nodes(value: Any) -> list[_Node]:
    """Those of a list; none of what is no list of them."""
    return [_node(item) for item in cast("list[Any]", value)] if isinstance(value, list) else []


def _field(node: _Node, root: _Node) -> dict[str, Any] | None:
    """A field of one of the kinds that forms have, with what such a field may say."""
    known = _KINDS.get(str(node.get("type")))
    if known is None:
        return None
    made = known(node, root)
    return None if made is None else {**_said(node, "title", str), **_said(node, "description", str), **made}


def _said(node: _Node, name: str, type_: type | tuple[type, ...]) -> dict[str, Any]:
    value = node.get(name)
    return {name: value} if isinstance(value, type_) and (type_ is bool or not isinstance(value, bool)) else {}


def _string(node: _Node, _: _Node) -> dict[str, Any] | None:
    default = _said(node, "default", str)
    if "const" in node or "enum" in node:
        choices = _enum(node)
        return None if choices is None else {"type": "string", "enum": choices, **_names_of(node, choices), **default}
    titled = _titled(node)
    if titled:
        return {"type": "string", "oneOf": titled, **default}
    formats = {name: value for name, value in _said(node, "format", str).items() if value in _FORMATS}
    return {"type": "string", **_said(node, "minLength", int), **_said(node, "maxLength", int), **formats, **default}


def _titled(node: _Node) -> list[dict[str, Any]]:
    choices = _nodes(node.get("oneOf")) or _nodes(node.get("anyOf"))
    if not _texts([choice.get("const") for choice in choices]):
        return []
    return [{"const": choice["const"], "title": str(choice.get("title", choice["const"]))} for choice in choices]


def _enum(node: _Node) -> list[str] | None:
    choices: Any = [node["const"]] if "const" in node else node.get("enum")
    return choices if _texts(choices) else None


def _names_of(node: _Node, choices: list[str]) -> dict[str, Any]:
    names: Any = node.get("enumNames")
    fit = _texts(names) and len(names) == len(choices)
    return {"enumNames": names} if fit else {}


def _texts(values: Any) -> TypeGuard[list[str]]:
    listed = cast("list[Any]", values) if isinstance(values, list) else []
    return bool(listed) and all(isinstance(value, str) for value in listed)


def _number(node: _Node, _: _Node) -> dict[str, Any] | None:
    if "enum" in node or "const" in node:
        return None
    limits = {**_said(node, "minimum", (int, float)), **_said(node, "maximum", (int, float))}
    return {"type": node["type"], **limits, **_said(node, "default", (int, float))}


def _boolean(node: _Node, _: _Node) -> dict[str, Any] | None:
    return None if "enum" in node or "const" in node else {"type": "boolean", **_said(node, "default", bool)}


def _several(node: _Node, root: _Node) -> dict[str, Any] | None:
    """Several of some choices."""
    items = _resolved(_node(node.get("items")), root)[0]
    limits = {**_said(node, "minItems", int), **_said(node, "maxItems", int)}
    default = {"default": node["default"]} if _texts(node.get("default")) else {}
    titled = _titled(items)
    if titled:
        return {"type": "array", "items": {"anyOf": titled}, **limits, **default}
    choices = _enum(items)
    return None if choices is None else {"type": "array", "items": {"type": "string", "enum": choices}, **limits, **default}


_KINDS: Mapping[str, Callable[[_Node, _Node], dict[str, Any] | None]] = {
    "string": _string,
    "integer": _number,
    "number": _number,
    "boolean": _boolean,
    "array": _several,
}


# From a field to what is wrong with a value

_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
}


def _problem(value: Any, field: _Node) -> str | None:
    kind: str = field["type"]
    if not _is_of(value, kind):
        return f"must be of type {kind}"
    choices = _choices(field["items"] if kind == "array" else field)
    values: list[Any] = value if kind == "array" else [value]
    if choices and any(one not in choices for one in values):
        return f"must be one of {', '.join(f'`{choice}`' for choice in choices)}"
    if kind in ("integer", "number"):
        return _bounds(value, field, "minimum", "maximum", "be")
    if kind in ("string", "array"):
        least, most = ("minLength", "maxLength") if kind == "string" else ("minItems", "maxItems")
        return _bounds(len(value), field, least, most, "have a length of") or _format_problem(value, field)
    return None


def _is_of(value: Any, kind: str) -> bool:
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _choices(field: _Node) -> list[Any]:
    return field.get("enum") or [choice["const"] for choice in field.get("oneOf") or field.get("anyOf") or ()]


def _bounds(value: float, field: _Node, least: str, most: str, verb: str) -> str | None:
    if least in field and value < field[least]:
        return f"must {verb} at least {field[least]}"
    if most in field and value > field[most]:
        return f"must {verb} at most {field[most]}"
    return None


def _format_problem(value: Any, field: _Node) -> str | None:
    format_ = field.get("format")
    if format_ is None:
        return None
    try:
        _FORMATS[format_](value)
    except ValueError:
        return f"must be a text of format {format_}"
    return None


def _email(value: str) -> None:
    if not re.fullmatch(r"[^@\s]+@[^@\s]+", value):
        raise ValueError


def _uri(value: str) -> None:
    if not urlsplit(value).scheme or re.search(r"\s", value):
        raise ValueError


_FORMATS: Mapping[str, Callable[[str], Any]] = {
    "email": _email,
    "uri": _uri,
    "date": date.fromisoformat,
    "date-time": datetime.fromisoformat,
}
