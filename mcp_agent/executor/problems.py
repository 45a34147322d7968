"""Says what is wrong with values from outside."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pydantic import ValidationError


def describe_problems(error: ValidationError) -> str:
    """Every problem of a validation on one line, each with its path. Inputs are left out: they may be secret or large."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"`{'.'.join(map(str, p['loc'])) or '(all)'}`: {p['msg']}" for p in problems)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence with near names, or with all there are."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return f"Did you mean {' or '.join(f'`{n}`' for n in near)}?"
    return f"It has {', '.join(f'`{n}`' for n in names)}." if names else "It has none."
