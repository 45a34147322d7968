"""When a failed step is tried again. Field names and meanings are Temporal's."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from mcp_agent.errors import ConfigError, InvalidArguments


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


MOST_ATTEMPTS = 2**31 - 1
DEFAULT_RETRY = RetryPolicy(maximum_interval=timedelta(seconds=60), maximum_attempts=10)


def delay_before(policy: RetryPolicyLike, attempt: int) -> timedelta:
    """The wait before attempt number `attempt` (2 or more)."""
    longest = policy.maximum_interval or policy.initial_interval * 100
    try:
        wait = policy.initial_interval * policy.backoff_coefficient ** (attempt - 2)
    except OverflowError:
        return longest
    return min(wait, longest)


def check_policy(policy: RetryPolicyLike) -> None:
    """Raises InvalidArguments for a policy that cannot be kept."""
    problems = _wrong_types(policy)
    if problems:
        raise InvalidArguments(f"The retry policy is wrong: {'; '.join(problems)}.")
    if policy.initial_interval <= timedelta(0):
        problems.append(f"`initial_interval` is `{policy.initial_interval}`: it must be longer than nothing")
    if policy.backoff_coefficient < 1:
        problems.append(f"`backoff_coefficient` is `{policy.backoff_coefficient}`: it must be at least 1")
    if policy.maximum_interval is not None and policy.maximum_interval < policy.initial_interval:
        problems.append(f"`maximum_interval` is `{policy.maximum_interval}`: it must not be shorter than `initial_interval`")
    if policy.maximum_attempts < 0:
        problems.append(f"`maximum_attempts` is `{policy.maximum_attempts}`: use 0 for no limit, or more")
    if problems:
        raise InvalidArguments(f"The retry policy is wrong: {'; '.join(problems)}.")


def _wrong_types(policy: Any) -> list[str]:
    """What is wrong with the classes of its values."""
    if not all(hasattr(policy, name) for name in RetryPolicy.__dataclass_fields__):
        return [f"it is `{policy!r}`: use `workflow.RetryPolicy(...)`"]
    problems: list[str] = []
    for name in ("initial_interval", "maximum_interval"):
        value = getattr(policy, name)
        if not isinstance(value, timedelta) and not (name == "maximum_interval" and value is None):
            problems.append(f"`{name}` is `{value!r}`: use a timedelta, such as `timedelta(seconds=1)`")
    backoff: Any = policy.backoff_coefficient
    if not isinstance(backoff, int | float) or not math.isfinite(backoff):
        problems.append(f"`backoff_coefficient` is `{backoff!r}`: use a number")
    attempts: Any = policy.maximum_attempts
    if not isinstance(attempts, int) or attempts > MOST_ATTEMPTS:
        problems.append(f"`maximum_attempts` is `{attempts!r}`: use a whole number, 0 for no limit")
    types: Any = policy.non_retryable_error_types
    if types is not None and (isinstance(types, str) or not all(isinstance(one, str) for one in types)):
        problems.append(f"`non_retryable_error_types` is `{types!r}`: use a list of class names")
    return problems


@dataclass(frozen=True, slots=True)
class RetryPolicies:
    """The configured policies: `workflow_task_retry_policies` by name or pattern, and `temporal.retry_policy` for all others.

    They steer retries only: which steps run is never decided by configuration, so that an edited file breaks no replay.
    """

    by_name: Mapping[str, RetryPolicyLike] = field(default_factory=dict[str, RetryPolicyLike])
    default: RetryPolicyLike | None = None

    def of(self, step: str, own: RetryPolicyLike | None) -> RetryPolicyLike:
        """The policy of a step: what is configured for it, else its `own`, else the configured default, else ours."""
        return self._configured(step) or own or self.default or DEFAULT_RETRY

    def check_names(self, steps: Iterable[str]) -> None:
        """Raises ConfigError for a policy that no step would ever take: a misspelt name must not pass for a policy."""
        known = sorted(steps)
        for key in self.by_name:
            if not any(step.startswith(key[:-1]) if key.endswith("*") else step == key for step in known):
                near = difflib.get_close_matches(key, known, n=3, cutoff=0.4) or known
                raise ConfigError(
                    f"`workflow_task_retry_policies` has `{key}`, but no step has that name. "
                    f"Near ones: {', '.join(f'`{name}`' for name in near)}."
                )

    def _configured(self, step: str) -> RetryPolicyLike | None:
        """By exact name, else by the longest `prefix*` (specification, "Configure mcp-agent")."""
        if step in self.by_name:
            return self.by_name[step]
        prefixes = [key for key in self.by_name if key.endswith("*") and step.startswith(key[:-1])]
        return self.by_name[max(prefixes, key=len)] if prefixes else None
