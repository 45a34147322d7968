"""When a failed step is tried again. Field names and meanings are Temporal's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, TypeVar


P = TypeVar("P")


class RetryPolicyLike(Protocol):
    """Ours, or `temporalio.common.RetryPolicy`."""

    initial_interval: timedelta
    backoff_coefficient: float
    maximum_interval: timedelta | None
    maximum_attempts: int
    non_retryable_error_types: Sequence[str] | None


@dataclass(slots=True)
class RetryPolicy:
    """How a step is retried.

    Attributes:
        initial_interval: The wait before the second attempt.
        backoff_coefficient: What each further wait is multiplied by; at least 1.
        maximum_interval: The longest wait; 100 times the first by default.
        maximum_attempts: All attempts together; 0 for no limit.
        non_retryable_error_types: Class names of errors that end the step at once.
    """

    initial_interval: timedelta = timedelta(seconds=1)
    backoff_coefficient: float = 2.0
    maximum_interval: timedelta | None = None
    maximum_attempts: int = 0
    non_retryable_error_types: Sequence[str] | None = None


def delay_before(policy: RetryPolicyLike, attempt: int) -> timedelta:
    """The wait before attempt number `attempt` (2 or more)."""
    longest = policy.maximum_interval or policy.initial_interval * 100
    try:
        wait = policy.initial_interval * policy.backoff_coefficient ** (attempt - 2)
    except OverflowError:
        return longest
    return min(wait, longest)


def most_specific(policies: Mapping[str, P], step: str) -> P | None:
    """The policy for `step`: its exact name, else the longest `prefix*`, else `*` (specification, "Configure mcp-agent")."""
    if step in policies:
        return policies[step]
    prefixes = [key for key in policies if key.endswith("*") and step.startswith(key[:-1])]
    return policies[max(prefixes, key=len)] if prefixes else None
