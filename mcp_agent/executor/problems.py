"""Says what is wrong with values from outside."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pydantic import ValidationError
from pydantic_core import ErrorDetails

_OBJECT = "this must be an object"
_SAID = {
    "missing": "this field is required",
    "extra_forbidden": "there is no such field",
    **dict.fromkeys(("model_type", "model_attributes_type", "dataclass_type", "dict_type"), _OBJECT),
}


def describe_problems(error: ValidationError) -> str:
    """Every problem of a validation on one line, each with its path. Inputs are left out: they may be secret or large."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(_described(problem) for problem in problems)


def _described(problem: ErrorDetails) -> str:
    said = _SAID.get(problem["type"], problem["msg"])
    return f"`{'.'.join(map(str, problem['loc']))}`: {said}" if problem["loc"] else said


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence with near names, or with all there are."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return f"Did you mean {' or '.join(f'`{n}`' for n in near)}?"
    if not names:
        return "There is none."
    return f"There {'is' if len(names) == 1 else 'are'} {', '.join(f'`{n}`' for n in names)}."
