"""Says what is wrong with values from outside."""

from __future__ import annotations

from pydantic import ValidationError


def describe_problems(error: ValidationError) -> str:
    """Every problem of a validation on one line, each with its path. Inputs are left out: they may be secret or large."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"`{'.'.join(map(str, p['loc'])) or '(all)'}`: {p['msg']}" for p in problems)
