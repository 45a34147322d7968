"""The contract of an engine, seen from outside a run: what programs and the MCP server call."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import Any, Generic, Literal, Protocol, TypeVar

from mcp_agent.errors import MCPAgentError
from mcp_agent.executor import runtime
from mcp_agent.executor.definition import WorkflowDefinition
from mcp_agent.executor.durations import duration_of
from mcp_agent.executor.priority import ORDINARY, CallerPriority
from mcp_agent.executor.records import LogPage, TranscriptPage
from mcp_agent.executor.runs import Answer, Receipt, RunFilter, RunPage, RunState, StartedRun
from mcp_agent.executor.schedules import ScheduleHandle, ScheduleState
from mcp_agent.executor.start_options import IdReusePolicy, SearchAttribute
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.executor.workflow_signal import Signal
from mcp_agent.observability.health import WELL, Health

T = TypeVar("T")

EngineName = Literal["asyncio", "temporal"]


class WorkflowHandle(Protocol, Generic[T]):
    """A run that was started or found by its id."""

    @property
    def id(self) -> str: ...

    @property
    def run_id(self) -> str: ...

    async def result(self) -> WorkflowResult[T]:
        """Waits for the run's end.

        Raises:
            RunFailedError: It did not complete (or a subclass that says how).
        """
        ...

    async def signal(self, name: str, *args: Any) -> None: ...

    async def query(self, name: str, *args: Any) -> Any:
        """Asks the run; it does not change. Raises NotFound, or WorkflowApplicationError, type `QueryFailed`."""
        ...

    async def update(self, name: str, *args: Any) -> Any:
        """Calls an update handler and waits for what it returns.

        Raises:
            WorkflowApplicationError: The validator or the handler refused; `type` is the class name of what it raised.
            NotFound: No such run, or no such update.
            AlreadyClosed: The run has ended.
        """
        ...

    async def cancel(self, reason: str | None = None) -> None: ...

    async def terminate(self, reason: str | None = None) -> None: ...

    async def describe(self) -> RunState: ...


class Executor(ABC):
    """Starts runs, talks to them, and reads them. The engine's own record is the truth; nothing here caches it."""

    @property
    @abstractmethod
    def engine(self) -> EngineName: ...

    @property
    @abstractmethod
    def kept(self) -> str:
        """How long runs are kept, in a sentence for who asks for one that is not there."""

    @property
    def signal_bus(self) -> SignalBus:
        return SignalBus(self)

    # What programs call (specification, "Quick Start", "Signal and Query Handlers", "Use Workflow IDs").

    @abstractmethod
    async def start_workflow(
        self,
        workflow: str | type[Workflow[Any]],
        *args: Any,
        workflow_id: str | None = None,
        id_reuse_policy: IdReusePolicy = "allow_duplicate",
        execution_timeout: timedelta | None = None,
        run_timeout: timedelta | None = None,
        task_timeout: timedelta | None = None,
        start_delay: timedelta | None = None,
        memo: Mapping[str, Any] | None = None,
        search_attributes: Mapping[str, SearchAttribute] | None = None,
    ) -> WorkflowHandle[Any]:
        """Starts a run. The options are explained at `StartOptions`.

        Raises:
            InvalidArguments: The arguments do not fit `run`; nothing was started.
            NotFound: No workflow of that name; the message names near ones.
            IdempotencyConflict: The id is taken and the policy does not allow another run.
        """

    @abstractmethod
    def get_handle(self, workflow_id: str, workflow: str | None = None) -> WorkflowHandle[Any]:
        """A handle of a run that may or may not exist."""

    async def signal_workflow(self, workflow: str, workflow_id: str, signal: str, *args: Any) -> None:
        """Sends a signal to a run of `workflow`. Raises NotFound or AlreadyClosed."""
        await self.get_handle(workflow_id, workflow).signal(signal, *args)

    async def query_workflow(self, workflow: str, workflow_id: str, query: str, *args: Any) -> Any:
        """Asks a run of `workflow`. Raises NotFound."""
        return await self.get_handle(workflow_id, workflow).query(query, *args)

    async def update_workflow(self, workflow: str, workflow_id: str, update: str, *args: Any) -> Any:
        """Calls an update of a run of `workflow` and waits for its answer. Raises as `WorkflowHandle.update`."""
        return await self.get_handle(workflow_id, workflow).update(update, *args)

    async def create_schedule(
        self,
        schedule_id: str,
        workflow: str | type[Workflow[Any]],
        *args: Any,
        every: timedelta | None = None,
        cron: Sequence[str] = (),
        time_zone: str | None = None,
    ) -> ScheduleHandle:
        """Has runs started again and again; one that still runs when the next is due is not overtaken. Temporal only.

        Raises:
            IdempotencyConflict: The id is taken.
            InvalidArguments: The times or the arguments are wrong.
            MCPAgentError: The engine has no schedules.
        """
        raise _no_schedules()

    def get_schedule(self, schedule_id: str) -> ScheduleHandle:
        """A handle of a schedule that may or may not exist."""
        raise _no_schedules()

    async def list_schedules(self) -> list[ScheduleState]:
        raise _no_schedules()

    # What the MCP server calls.

    @abstractmethod
    async def start_run(
        self,
        definition: WorkflowDefinition,
        args: Sequence[Any],
        *,
        run_id: str,
        input_digest: str,
        priority: CallerPriority = ORDINARY,
    ) -> StartedRun:
        """Starts a run under an id of the caller's, once, however often it is called. `priority` has a meaning on Temporal.

        Raises:
            IdempotencyConflict: The id belongs to a run with another input.
        """

    @abstractmethod
    async def describe_run(self, run_id: str) -> RunState:
        """Raises NotFound."""

    @abstractmethod
    def watch_run(self, run_id: str, *, started: bool = False) -> AsyncGenerator[RunState, None]:
        """The run's state now, and again each time that it has news; ends after that of a closed run.

        Args:
            run_id: The run.
            started: It was started just now: the first state may come when there is something to tell.

        Raises:
            NotFound: No such run.
        """

    async def wait_run(self, run_id: str, timeout: timedelta) -> RunState:
        """The run's state as soon as it `needs_attention`, else when `timeout` is over. Raises NotFound."""
        async with aclosing(self.watch_run(run_id)) as states:
            try:
                async with asyncio.timeout(timeout.total_seconds()):
                    async for state in states:
                        if state.needs_attention:
                            return state
            except TimeoutError:
                pass
        return await self.describe_run(run_id)

    @abstractmethod
    async def answer_run(self, run_id: str, answer: Answer) -> Receipt:
        """Answers a request, at most once. Raises NotFound, AlreadyAnswered, AlreadyClosed, NotWaiting, NoWorker."""

    @abstractmethod
    async def note_refusal(self, run_id: str, request_id: str, problem: str) -> None:
        """Has the run remember that an answer to an open request did not fit, and why. Harmless for one that is not open.

        Raises NotFound.
        """

    @abstractmethod
    async def signal_run(self, run_id: str, signal: str, args: Sequence[Any]) -> None:
        """Calls a signal handler that the workflow declares. Raises NotFound, AlreadyClosed."""

    @abstractmethod
    async def cancel_run(self, run_id: str, reason: str | None = None) -> None:
        """Asks a run to end; harmless on a closed one. Raises NotFound."""

    @abstractmethod
    async def list_runs(self, which: RunFilter) -> RunPage: ...

    @abstractmethod
    async def run_log(self, run_id: str, cursor: str | None = None) -> LogPage:
        """What happened in a run, oldest first: a page of it, from `cursor` on. Raises NotFound, InvalidArguments."""

    @abstractmethod
    async def run_transcript(self, run_id: str, cursor: str | None = None) -> TranscriptPage:
        """What a run's agents said and heard, as `run_log`. Raises NotFound, InvalidArguments."""

    def run_page(self, state: RunState) -> str | None:
        """The address of the engine's own web page of a run, where it has one."""
        return state.page

    async def health(self) -> Health:
        """Whether the engine answers, and the worker of this process takes its tasks."""
        return WELL


def _no_schedules() -> MCPAgentError:
    return MCPAgentError("Schedules need `execution_engine: temporal`: in-process nothing outlives the process.")


class SignalBus:
    """`executor.signal_bus` (specification, "Signals for Human-in-the-Loop")."""

    def __init__(self, executor: Executor | None) -> None:
        self._executor = executor

    async def wait_for_signal(self, signal: Signal, timeout: timedelta | float | None = None) -> Any:
        """Waits, inside a run, for a signal of that name and returns its payload.

        A person can answer it through every MCP client. A signal that came before is taken at once.

        Raises:
            TimeoutError: None came in `timeout` (a timedelta, or seconds).
        """
        return await runtime.current().wait_for_signal(signal, None if timeout is None else duration_of(timeout))

    async def send_signal(self, signal: Signal) -> None:
        """Sends a signal to the run that `signal` names. Raises NotFound or AlreadyClosed."""
        if signal.target is None:
            raise ValueError(f"Signal `{signal.name}` names no run: give it a `run_id`.")
        args = () if signal.payload is None else (signal.payload,)
        run = runtime.current_or_none()
        if run is not None:
            await run.signal_run(signal.target, signal.name, args)
            return
        if self._executor is None:
            raise MCPAgentError(f"Signal `{signal.name}` cannot be sent: the app does not run.")
        await self._executor.get_handle(signal.target).signal(signal.name, *args)
