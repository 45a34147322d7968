"""Part of the `temporal` section: queues beside that of the workflows, for some of their steps."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from mcp_agent.config_connection import Pollers, TunerSettings
from mcp_agent.config_section import Section
from mcp_agent.executor.problems import did_you_mean

WORKFLOWS = "workflows"
"""What the queue of the workflows themselves is called where queues are named."""
MODELS, TOOLS, STEPS = "models", "tools", "steps"
"""Queues for kinds of steps: calls of models, what models call (MCP servers, functions), the app's own steps."""


def unknown_queue(names: Iterable[str], configured: Iterable[str]) -> str | None:
    """What is wrong with names of queues to serve: the first that is neither `workflows` nor configured."""
    known = (WORKFLOWS, *configured)
    wrong = next((name for name in names if name not in known), None)
    return None if wrong is None else f"There is no queue `{wrong}` in `temporal.queues`. {did_you_mean(wrong, known)}"


def _a_queue(name: str) -> str:
    if name == WORKFLOWS:
        raise ValueError("the queue of the workflows is `temporal.task_queue`: leave this out.")
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
        raise ValueError(f"`{name}` is no name of a queue: lower-case letters, digits, `-` and `_`, a letter first.")
    return name


QueueName = Annotated[str, AfterValidator(_a_queue)]


class QueueSettings(Section):
    """One queue, and what a worker process takes on of it. What is not said is as for the queue of the workflows.

    Attributes:
        task_queue: What Temporal calls it; the task queue of the workflows with `-<name>` behind it by default.
        max_concurrent_activities: Steps at the same time.
        threads: For steps that are plain functions.
        max_activities_per_second: Steps that this process begins.
        max_queue_activities_per_second: Steps that all workers of the queue begin together.
        activity_pollers: Requests for work that are open: a number, or bounds between which it follows the load.
        tuner: Instead of `max_concurrent_activities`: as much as the machine can do.
    """

    task_queue: str | None = Field(default=None, min_length=1)
    max_concurrent_activities: int | None = Field(default=None, gt=0)
    threads: int | None = Field(default=None, gt=0)
    max_activities_per_second: float | None = Field(default=None, gt=0)
    max_queue_activities_per_second: float | None = Field(default=None, gt=0)
    activity_pollers: Pollers | None = None
    tuner: TunerSettings | None = None

    @model_validator(mode="before")
    @classmethod
    def _named_alone(cls, given: Any) -> Any:
        """`models: agents-models` is `models: {task_queue: agents-models}`."""
        return {"task_queue": given} if isinstance(given, str) else {} if given is None else given

    @model_validator(mode="after")
    def _one_measure(self) -> QueueSettings:
        if self.tuner is not None and self.max_concurrent_activities is not None:
            raise ValueError("`tuner` and `max_concurrent_activities` both say how much at the same time: keep one.")
        return self
