"""What a step may know about the attempt it runs in, whichever engine runs it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

from mcp_agent.executor.scoped import Scoped


class StepHistory(Protocol):
    """The recorded steps of a run, oldest first."""

    def completed(self, *steps: str) -> AsyncIterator[tuple[str, bytes, bytes]]:
        """The name, the argument's JSON and the result's of each completed call of the steps of these names."""
        ...

    def arguments(self, step: str) -> AsyncIterator[bytes]:
        """The JSON of the argument of each call of the step named `step`, completed or not."""
        ...


def _no_heartbeat(*details: Any) -> None:
    """A step outside a run has nobody to tell."""


@dataclass(frozen=True, slots=True)
class StepContext:
    """One attempt of one step.

    Attributes:
        step: The step's name.
        run_id: The public id of the run that asked for it.
        workflow: The name of that run's workflow.
        attempt: 1 for the first.
        heartbeat: Tells the engine that the step is alive; its details reach the next attempt.
        heartbeat_details: What the attempt before told last.
        history: The run's recorded steps; `None` outside a run.
        engine_run_id: Temporal's id of this run of the chain; the public id in-process.
    """

    step: str
    run_id: str
    workflow: str
    attempt: int = 1
    heartbeat: Callable[..., None] = field(default=_no_heartbeat)
    heartbeat_details: tuple[Any, ...] = ()
    history: StepHistory | None = None
    engine_run_id: str = ""


_current: ContextVar[StepContext | None] = ContextVar("mcp_agent_step", default=None)


def current_step() -> StepContext | None:
    """The step that this code runs in, or `None`."""
    return _current.get()


def entered(step: StepContext) -> AbstractContextManager[StepContext | None]:
    """Makes `step` the current one in the block; engines call it around each attempt."""
    return Scoped(_current, step)
