"""How one call of a step (a function with side effects) is run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from mcp_agent.errors import InvalidArguments
from mcp_agent.executor.priority import check_priority
from mcp_agent.executor.retry import RetryPolicyLike, check_policy
from mcp_agent.executor.start_options import check_duration

DEFAULT_START_TO_CLOSE = timedelta(minutes=10)
DEFAULT_HEARTBEAT = timedelta(seconds=30)
_DURATIONS = ("start_to_close_timeout", "schedule_to_close_timeout", "schedule_to_start_timeout", "heartbeat_timeout")
_PLACES = ("task_queue", "queue")
_NOT_LOCAL = ("schedule_to_start_timeout", "heartbeat_timeout", *_PLACES, "priority")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOptions:
    """How one call of a step is run. Names and meanings are those of a Temporal activity; unset ones have defaults.

    Attributes:
        start_to_close_timeout: Longest time of one attempt; 10 minutes by default.
        schedule_to_close_timeout: Longest time of all attempts.
        schedule_to_start_timeout: Longest wait for a worker.
        heartbeat_timeout: A step that is silent for longer is lost and tried again.
        retry_policy: 10 attempts with a back-off from 1 s to 60 s by default.
        task_queue: Another queue than the run's, as Temporal calls it.
        queue: One of the queues in `temporal.queues`; where it is not configured, the step runs where it would without this.
        priority: 1 (first) to 5 (last); that of the run by default. Temporal only.
        summary: One line for Temporal's web page.
        local: Run it in the worker that runs the workflow, without asking Temporal in between: for what takes no longer than
            a second or so. Nothing else can take it over, so it has no heartbeat and no queue of its own.
    """

    start_to_close_timeout: timedelta | None = None
    schedule_to_close_timeout: timedelta | None = None
    schedule_to_start_timeout: timedelta | None = None
    heartbeat_timeout: timedelta | None = None
    retry_policy: RetryPolicyLike | None = None
    task_queue: str | None = None
    queue: str | None = None
    priority: int | None = None
    summary: str | None = None
    local: bool | None = None

    def check(self) -> None:
        """Raises InvalidArguments for values that cannot be kept, and for options that do not go together."""
        for name in _DURATIONS:
            check_duration(name, getattr(self, name))
        if self.retry_policy is not None:
            check_policy(self.retry_policy)
        check_priority("priority", self.priority)
        if self.queue is not None and self.task_queue is not None:
            raise InvalidArguments("`queue` and `task_queue` both say where the step runs: leave one of them out.")
        given = [name for name in _NOT_LOCAL if getattr(self, name) is not None]
        if self.local and given:
            raise InvalidArguments(f"`{given[0]}` does not go with `local`: leave one of them out.")

    def over(self, defaults: StepOptions) -> StepOptions:
        """These options, with `defaults` where they say nothing."""
        names = StepOptions.__dataclass_fields__
        mine = {name: getattr(self, name) for name in names}
        theirs = {name: getattr(defaults, name) for name in names}
        if any(mine[place] is not None for place in _PLACES):
            theirs |= dict.fromkeys(_PLACES)
        return StepOptions(**{name: theirs[name] if value is None else value for name, value in mine.items()})


@dataclass(frozen=True, slots=True)
class StepCall:
    """One call of a step from a workflow."""

    name: str
    args: tuple[Any, ...]
    options: StepOptions
    result_type: Any = None
