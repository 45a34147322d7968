"""Says what is wrong with a configuration: the path of each key, its value unless it may be a secret, and what is right."""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError

from mcp_agent.config_section import PLAIN

_SECRET = re.compile(r"key|secret|token|password|headers|env\b", re.IGNORECASE)


def describe(error: ValidationError, model: type[BaseModel]) -> str:
    """Every problem of a validation, joined by `; `."""
    seen: dict[str, None] = {}
    for problem in error.errors(include_url=False, include_context=False):
        seen.setdefault(_problem(problem["loc"], problem["type"], problem["msg"], problem["input"], model))
    return "; ".join(seen)


def _problem(loc: Sequence[int | str], kind: str, message: str, value: Any, model: type[BaseModel]) -> str:
    path = _path(loc)
    if kind == "extra_forbidden":
        return f"`{path}` is not known. {_nearest(str(loc[-1]), _model_at(loc[:-1], model))}"
    if kind == "missing":
        return f"`{path}` is missing"
    text = message.removeprefix("Value error, ")
    if kind == "value_error" or _SECRET.search(path) or isinstance(value, dict | list | SecretStr):
        return f"`{path}`: {text}"
    return f"`{path}` is `{value}`: {text[:1].lower()}{text[1:]}"


def _path(loc: Sequence[int | str]) -> str:
    """The path as it is written in the file: without what pydantic adds for the branches of a union."""
    parts = [str(part) for part in loc if not (isinstance(part, str) and re.fullmatch(rf"{PLAIN}|bool|[A-Z]\w*Settings", part))]
    return ".".join(parts)


def _model_at(loc: Sequence[int | str], model: type[BaseModel]) -> type[BaseModel] | None:
    """The model that the keys at `loc` belong to."""
    found: Any = model
    for part in loc:
        if typing.get_origin(found) is dict:
            found = typing.get_args(found)[1]
            continue
        owner = _model_of(found)
        if owner is not None and part in owner.model_fields:
            found = owner.model_fields[str(part)].annotation
    return _model_of(found)


def _model_of(annotation: Any) -> type[BaseModel] | None:
    return next((t for t in _types(annotation) if isinstance(t, type) and issubclass(t, BaseModel)), None)


def _types(annotation: Any) -> list[Any]:
    """An annotation and everything inside it."""
    inner = [t for argument in typing.get_args(annotation) for t in _types(argument)]
    return [annotation, *inner]


def _nearest(name: str, model: type[BaseModel] | None) -> str:
    known = sorted(model.model_fields) if model is not None else []
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"Did you mean `{near[0]}`?"
    return f"Known keys are {', '.join(f'`{key}`' for key in known)}" if known else "Remove it"
