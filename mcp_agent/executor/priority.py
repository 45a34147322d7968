"""Which work is done first where more waits than can be done (Temporal's priorities and fairness)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from mcp_agent.errors import InvalidArguments

FIRST, LAST = 1, 5
PriorityLevel = Annotated[int, Field(strict=True, ge=FIRST, le=LAST)]
"""1 is done first, 5 last; 3 where nothing says otherwise."""


@dataclass(frozen=True, slots=True)
class CallerPriority:
    """What a caller's runs get.

    Attributes:
        priority: Of its runs; `None` for that of their workflow.
        weight: Its share among the callers of one priority, 1 by default: with 2 it gets twice as much done.
    """

    priority: int | None = None
    weight: float | None = None


ORDINARY = CallerPriority()


def check_priority(name: str, value: Any) -> None:
    """A priority, or None. Raises InvalidArguments."""
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or not FIRST <= value <= LAST:
        raise InvalidArguments(f"`{name}` is `{value!r}`: use a number from {FIRST} (first) to {LAST} (last).")
