"""What workflow code stands on while it runs: one small interface, implemented by each engine.

Everything in `mcp_agent.workflow`, `Agent` and the context goes through `current()`; nothing there knows the engine.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import random
import uuid
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter

from mcp_agent.errors import NotInWorkflowError, WorkflowApplicationError
from mcp_agent.executor.agent_host import AgentHost, direct_host
from mcp_agent.executor.caller_tokens import owner_of
from mcp_agent.executor.children import ChildHandle, ChildOptions
from mcp_agent.executor.runs import Progress, PublicState
from mcp_agent.executor.scoped import Scoped
from mcp_agent.executor.workflow_result import WorkflowResult, as_result
from mcp_agent.executor.workflow_signal import Ending, Mailbox, Question, Signal
from mcp_agent.observability.metrics import RUN_SECONDS, RUNS_CLOSED, WAIT_SECONDS, WAITS_ENDED, WAITS_OPENED, Metrics


@dataclass(frozen=True, slots=True)
class RunInfo:
    """Ids of the run that asks.

    Attributes:
        run_id: The public id; `self.id` and `self.run_id` of a workflow.
        engine_run_id: Temporal's id of this run of the chain; the public id in-process.
    """

    run_id: str
    workflow: str
    engine_run_id: str
    task_queue: str | None = None


class WorkflowRuntime(AgentHost):
    """One run, seen from inside. Every method is deterministic on a durable engine."""

    def __init__(self) -> None:
        super().__init__()
        self.mailbox = Mailbox()
        self.progress: Progress | None = None

    @property
    @abstractmethod
    def info(self) -> RunInfo: ...

    @property
    @abstractmethod
    def logger(self) -> logging.Logger | logging.LoggerAdapter[Any]:
        """Does not repeat on replay."""

    @abstractmethod
    def random(self) -> random.Random: ...

    @abstractmethod
    def uuid4(self) -> uuid.UUID: ...

    @abstractmethod
    def is_replaying(self) -> bool: ...

    @abstractmethod
    async def sleep(self, duration: timedelta) -> None: ...

    @abstractmethod
    async def wait_condition(self, condition: Callable[[], bool], timeout: timedelta | None = None) -> None:
        """Waits until `condition()` is true; it is asked again whenever the run's state may have changed.

        Raises:
            TimeoutError: It was not true in time.
        """

    @abstractmethod
    def publish(self, *, failed: bool = False) -> None:
        """Makes `public_state()` readable from outside, without a worker. `failed`: the run returns an error."""

    @abstractmethod
    def all_handlers_finished(self) -> bool: ...

    @abstractmethod
    def get_version(self, change_id: str, minimum: int, maximum: int) -> int:
        """The version of a piece of code that this run began with; the newest for one that reaches it first."""

    @abstractmethod
    def should_continue_as_new(self) -> bool: ...

    @abstractmethod
    async def start_child(self, name: str, args: Sequence[Any], options: ChildOptions, result_type: Any) -> ChildHandle:
        """Starts a run that belongs to this one. Raises IdempotencyConflict if its id is taken."""

    @abstractmethod
    async def signal_run(self, run_id: str, name: str, args: Sequence[Any]) -> None:
        """Sends a signal to another run. Raises WorkflowApplicationError, type `NotFound`, if it is not under way."""

    @property
    @abstractmethod
    def metrics(self) -> Metrics:
        """Drops what is measured again on replay."""

    def record_metric(self, name: str, value: float, attributes: Mapping[str, str | int | float | bool]) -> None:
        """Not again on replay."""
        self.metrics.record(name, value, {"workflow": self.info.workflow, **attributes})

    def measure_end(self, status: str, duration: timedelta) -> None:
        """The run has ended."""
        self.metrics.add(RUNS_CLOSED, workflow=self.info.workflow, status=status)
        self.metrics.observe(RUN_SECONDS, duration.total_seconds(), workflow=self.info.workflow, status=status)

    @abstractmethod
    def is_cancellation(self, error: BaseException) -> bool:
        """Whether the engine's own error stands for a step or child that was cancelled."""

    def public_state(self, *, failed: bool = False) -> PublicState:
        return PublicState(pending_inputs=self.mailbox.pending(), progress=self.progress, usage=self.usage, failed=failed)

    def concluded(self, value: Any) -> WorkflowResult[Any]:
        """What `run` returned as its result, with what it used among the metadata."""
        result = as_result(value)
        if self.usage is None or "usage" in result.metadata:
            return result
        usage = self.usage.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        return result.model_copy(update={"metadata": {**result.metadata, "usage": usage}})

    def child_id(self, workflow: str) -> str:
        """A public id for a child: like that of any run, of the same owner, and the same on replay."""
        tag = owner_of(self.info.run_id, self.info.workflow)
        owner = f"{tag}." if tag else ""
        return f"{owner}{workflow}.{base64.b32encode(self.uuid4().bytes).decode().rstrip('=').lower()}"

    async def ask(self, question: Question, timeout: timedelta | None = None) -> Any:
        opened_at = self.now()
        request_id = self.mailbox.open(question, opened_at, timeout).request_id
        asked = not self.mailbox.resolved(request_id)
        if asked:
            self.publish()
            self.metrics.add(WAITS_OPENED, workflow=self.info.workflow, kind=question.kind)
        try:
            await self.wait_condition(lambda: self.mailbox.resolved(request_id), timeout)
        except asyncio.CancelledError:
            self._end_unanswered(request_id, "withdrawn")
            self._measure_wait(question, "withdrawn", opened_at)
            raise
        except TimeoutError:
            if not self.mailbox.resolved(request_id):  # else the answer was first, and who gave it was told so
                self._end_unanswered(request_id, "expired")
                self._measure_wait(question, "expired", opened_at)
                raise TimeoutError(f"`{request_id}` was not answered within {timeout}.") from None
        payload = self.mailbox.close(request_id)
        if asked:
            self.publish()
            self._measure_wait(question, "answered", opened_at)
        return payload

    def _measure_wait(self, question: Question, outcome: str, opened_at: datetime) -> None:
        labels = {"workflow": self.info.workflow, "kind": question.kind, "outcome": outcome}
        self.metrics.add(WAITS_ENDED, **labels)
        self.metrics.observe(WAIT_SECONDS, (self.now() - opened_at).total_seconds(), **labels)

    def _end_unanswered(self, request_id: str, how: Ending) -> None:
        self.mailbox.end(request_id, how, self.now())
        self.publish()

    async def wait_for_signal(self, signal: Signal, timeout: timedelta | None = None) -> Any:
        """Waits for a signal of that name, sent or answered. Raises TimeoutError."""
        typed = TypeAdapter(signal.payload_type) if signal.payload_type is not None else None
        question = Question(
            "signal",
            signal.name,
            signal.message or f"`{self.info.workflow}` waits for `{signal.name}`.",
            schema=typed.json_schema() if typed else None,
            check=typed.validate_python if typed else None,
        )
        payload = await self.ask(question, timeout)
        return typed.validate_python(payload) if typed else payload


_depth: ContextVar[int] = ContextVar("mcp_agent_run_depth", default=0)


def running() -> AbstractContextManager[int]:
    """Counts how deep `run` methods call each other inline."""
    return Scoped(_depth, _depth.get() + 1)


def in_handler() -> None:
    """Makes this context that of a handler, which is no part of `run`."""
    _depth.set(0)


def check_outermost(what: str) -> None:
    """Raises WorkflowApplicationError where one workflow's `run` was called by another's: `what` would end the wrong one."""
    if _depth.get() == 0:
        raise WorkflowApplicationError(
            f"`{what}` was called in a handler: have the handler note it on `self`, and call it in `run`.",
            type="ContinueAsNewInHandler",
            non_retryable=True,
        )
    if _depth.get() > 1:
        raise WorkflowApplicationError(
            f"`{what}` was called in a `run` that another workflow's `run` has called: it would continue the outer run with "
            "the inner one's arguments. Start the inner one with `workflow.execute_child_workflow`.",
            type="NestedContinueAsNew",
            non_retryable=True,
        )


_in_process: ContextVar[WorkflowRuntime | None] = ContextVar("mcp_agent_runtime", default=None)
_ON_LOOP = "_mcp_agent_runtime"


def current_or_none() -> WorkflowRuntime | None:
    """The run that this code is part of, or `None` outside one."""
    runtime = _in_process.get()
    if runtime is not None:
        return runtime
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return None
    return getattr(loop, _ON_LOOP, None)


def current() -> WorkflowRuntime:
    """The run that this code is part of.

    Raises:
        NotInWorkflowError: There is none.
    """
    runtime = current_or_none()
    if runtime is None:
        raise NotInWorkflowError("This call needs a running workflow: make it from `run` or a handler of one.")
    return runtime


def host() -> AgentHost:
    """What agents stand on here: the run, else the direct host of a step or of a running app.

    Raises:
        NotInWorkflowError: There is neither.
    """
    found = current_or_none() or direct_host.get()
    if found is None:
        raise NotInWorkflowError("Agents work in workflows, in steps, and inside `async with app.run()`.")
    return found


def entered(runtime: WorkflowRuntime | None) -> AbstractContextManager[WorkflowRuntime | None]:
    """Makes `runtime` the current one in the block; `None` leaves the run (for steps)."""
    return Scoped(_in_process, runtime)


def make_current(runtime: WorkflowRuntime) -> None:
    """Makes `runtime` the current one for as long as this context lasts."""
    _in_process.set(runtime)


def put_on_loop(loop: asyncio.AbstractEventLoop, runtime: WorkflowRuntime) -> None:
    """For an engine that gives every run a loop of its own, where context variables do not reach handlers."""
    setattr(loop, _ON_LOOP, runtime)
