"""A downstream server's question to a person, and the person's answer as the server wants it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
}
_ACTIONS = ("accept", "decline", "cancel")


def question(params: Mapping[str, Any]) -> str:
    """What the person is asked: the server's message, and the address that it wants opened."""
    message = str(params.get("message", ""))
    if params.get("mode") != "url":
        return message
    return f"{message} Open {params['url']} if you agree, then answer `true`; `false` declines."


def declined(action: Literal["decline", "cancel"]) -> dict[str, Any]:
    """The answer of nobody."""
    return {"action": action}


def fitting(payload: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    """An answer as MCP has it, from `{action, content?}`, from the content alone, or from a yes or no.

    `false` and `null` decline, as does `{"action": "decline"}`. `true` agrees to what needs no content.

    Raises:
        ValueError: The content does not fit what was asked.
    """
    schema = cast("dict[str, Any]", params.get("requestedSchema") or {})
    action, content = _taken_apart(payload, schema)
    if action != "accept":
        return {"action": action}
    if params.get("mode") == "url":
        return {"action": "accept"}
    problems = _problems(content, schema)
    if problems:
        raise ValueError("; ".join(problems))
    return {"action": "accept", "content": content}


def _taken_apart(payload: Any, schema: Mapping[str, Any]) -> tuple[str, Any]:
    if payload is None or payload is False:
        return "decline", None
    if payload is True:
        return "accept", {}
    if isinstance(payload, dict) and "action" not in schema.get("properties", {}):
        given = cast("dict[str, Any]", payload)
        if given.get("action") in _ACTIONS and given.keys() <= {"action", "content"}:
            return given["action"], given.get("content") or {}
    return "accept", cast("Any", payload)


def _problems(content: Any, schema: Mapping[str, Any]) -> list[str]:
    """What is wrong with a form's content: MCP's forms are flat, with fields of simple types."""
    if not isinstance(content, dict):
        return ["answer with an object that has the schema's fields, `true`, or `false` to decline"]
    given = cast("dict[str, Any]", content)
    fields = cast("dict[str, dict[str, Any]]", schema.get("properties") or {})
    missing = [f"`{name}`: this field is required" for name in schema.get("required", []) if name not in given]
    unknown = [f"`{name}`: there is no such field" for name in given if fields and name not in fields]
    wrong = [f"`{name}`: {why}" for name, field in fields.items() if name in given and (why := _problem(given[name], field))]
    return missing + unknown + wrong


def _problem(value: Any, field: Mapping[str, Any]) -> str | None:
    kind = str(field.get("type", ""))
    known = _TYPES.get(kind)
    if known is not None and (not isinstance(value, known) or (isinstance(value, bool) and kind != "boolean")):
        return f"must be of type {kind}"
    choices = field.get("enum") or [choice.get("const") for choice in field.get("oneOf", [])]
    if choices and value not in choices:
        return f"must be one of {', '.join(f'`{choice}`' for choice in choices)}"
    if kind in ("integer", "number"):
        return _bounds(value, field, "minimum", "maximum", "be")
    if kind in ("string", "array"):
        least, most = ("minLength", "maxLength") if kind == "string" else ("minItems", "maxItems")
        return _bounds(len(cast("Any", value)), field, least, most, "have a length of")
    return None


def _bounds(value: float, field: Mapping[str, Any], least: str, most: str, verb: str) -> str | None:
    if field.get(least) is not None and value < field[least]:
        return f"must {verb} at least {field[least]}"
    if field.get(most) is not None and value > field[most]:
        return f"must {verb} at most {field[most]}"
    return None
