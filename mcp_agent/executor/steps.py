"""How one call of a step (a function with side effects) is run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from mcp_agent.executor.retry import RetryPolicyLike

DEFAULT_START_TO_CLOSE = timedelta(minutes=10)
DEFAULT_HEARTBEAT = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOptions:
    """How one call of a step is run. Names and meanings are those of a Temporal activity; unset ones have defaults.

    Attributes:
        start_to_close_timeout: Longest time of one attempt; 10 minutes by default.
        schedule_to_close_timeout: Longest time of all attempts.
        schedule_to_start_timeout: Longest wait for a worker.
        heartbeat_timeout: A step that is silent for longer is lost and tried again.
        retry_policy: 10 attempts with a back-off from 1 s to 60 s by default.
        task_queue: Another queue than the run's.
        summary: One line for Temporal's web page.
    """

    start_to_close_timeout: timedelta | None = None
    schedule_to_close_timeout: timedelta | None = None
    schedule_to_start_timeout: timedelta | None = None
    heartbeat_timeout: timedelta | None = None
    retry_policy: RetryPolicyLike | None = None
    task_queue: str | None = None
    summary: str | None = None

    def over(self, defaults: StepOptions) -> StepOptions:
        """These options, with `defaults` where they say nothing."""
        names = StepOptions.__dataclass_fields__
        mine = {name: getattr(self, name) for name in names}
        theirs = {name: getattr(defaults, name) for name in names}
        return StepOptions(**{name: theirs[name] if value is None else value for name, value in mine.items()})


@dataclass(frozen=True, slots=True)
class StepCall:
    """One call of a step from a workflow."""

    name: str
    args: tuple[Any, ...]
    options: StepOptions
    result_type: Any = None
