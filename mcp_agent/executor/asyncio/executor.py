"""The in-process engine: everything but durability, with the same code and the same calls as on Temporal."""

from __future__ import annotations

import asyncio
import contextvars
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from mcp_agent.errors import (
    AlreadyClosed,
    CallError,
    IdempotencyConflict,
    InvalidArguments,
    NotFound,
)
from mcp_agent.executor.asyncio.adopted import AdoptedRun
from mcp_agent.executor.asyncio.endings import ending
from mcp_agent.executor.asyncio.run import InProcessRun
from mcp_agent.executor.asyncio.stepping import stepping
from mcp_agent.executor.asyncio.steps import StepRunner
from mcp_agent.executor.children import ChildOptions
from mcp_agent.executor.definition import WorkflowDefinition, input_digest
from mcp_agent.executor.executor import Executor
from mcp_agent.executor.payloads import check_size, largest_value
from mcp_agent.executor.priority import ORDINARY, CallerPriority
from mcp_agent.executor.records import LogPage, Position, TranscriptPage, counted, page_of
from mcp_agent.executor.registry import Registry, find_workflow, new_run_id
from mcp_agent.executor.runs import Answer, Receipt, RunFilter, RunPage, RunState, StartedRun
from mcp_agent.executor.start_options import IdReusePolicy, SearchAttribute, StartOptions, start_options
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.executor.workflow_task import TaskDefinition
from mcp_agent.workflows.llm.transcript import RESULT_STEPS, Transcript

REMEMBERED_RUNS = 1_000
RECORD_BYTES = 64 * 1024 * 1024
"""What may be held of what happened in runs that have ended; the oldest forget theirs first."""

_Run = InProcessRun | AdoptedRun


class InProcessExecutor(Executor):
    """Runs workflows as asyncio tasks. Closed runs are remembered, the newest 1,000 of them.

    Args:
        registry: The app.
        tasks: Its tasks and the framework's own steps, by name.
    """

    def __init__(self, registry: Registry, tasks: Mapping[str, TaskDefinition]) -> None:
        self._registry = registry
        self._runner = StepRunner(
            tasks,
            registry.settings.retry_policies(),
            lambda: registry.direct_calls(tasks),
            largest_value(registry.settings.temporal.external_storage),
            registry.telemetry,
        )
        self._runs: OrderedDict[str, _Run] = OrderedDict()
        self._record_sizes: OrderedDict[str, int] = OrderedDict()
        self._record_bytes = 0

    @property
    def engine(self) -> Any:
        return "asyncio"

    @property
    def kept(self) -> str:
        return f"Runs are kept until their server ends, and of those that have ended the last {REMEMBERED_RUNS:,}."

    # Starting

    async def start_workflow(
        self,
        workflow: str | type[Workflow[Any]],
        *args: Any,
        memo: Mapping[str, Any] | None = None,
        search_attributes: Mapping[str, SearchAttribute] | None = None,
        **given: Any,
    ) -> InProcessHandle:
        options = start_options(memo, search_attributes, given)
        definition = find_workflow(self._registry, workflow)
        bound = definition.bind_positional(args)
        run_id = options.workflow_id or new_run_id(definition.name)
        self._make_room(run_id, options.id_reuse_policy)
        self._start(definition, bound, run_id, input_digest(bound), options)
        return InProcessHandle(self, run_id)

    def start_child(self, parent: InProcessRun, workflow: str, args: Sequence[Any], options: ChildOptions) -> InProcessRun:
        """A run that belongs to `parent`. Raises IdempotencyConflict, NotFound, InvalidArguments."""
        definition = find_workflow(self._registry, workflow)
        bound = definition.bind_positional(args)
        run_id = options.id or new_run_id(definition.name)
        self._make_room(run_id, "allow_duplicate")
        limits = StartOptions(execution_timeout=options.execution_timeout, run_timeout=options.run_timeout, memo=options.memo)
        return self._start(definition, bound, run_id, input_digest(bound), limits)

    def _make_room(self, run_id: str, policy: IdReusePolicy) -> None:
        there = self._runs.get(run_id)
        if there is None:
            return
        state = there.state()
        if not there.closed:
            if policy != "terminate_if_running":
                raise IdempotencyConflict(f"Run `{run_id}` is under way: choose another `workflow_id`.")
            there.terminate()
        elif policy == "reject_duplicate" or (policy == "allow_duplicate_failed_only" and state.status == "completed"):
            raise IdempotencyConflict(f"Run `{run_id}` exists and `id_reuse_policy` is `{policy}`.")
        self._forget(run_id)

    async def start_run(
        self,
        definition: WorkflowDefinition,
        args: Sequence[Any],
        *,
        run_id: str,
        input_digest: str,
        priority: CallerPriority = ORDINARY,
    ) -> StartedRun:
        there = self._runs.get(run_id)
        if there is not None:
            if there.input_digest != input_digest:
                raise IdempotencyConflict(f"Run `{run_id}` was started with another input: choose another key.")
            return StartedRun(run_id, existing=True)
        self._start(definition, args, run_id, input_digest, StartOptions())
        return StartedRun(run_id, existing=False)

    def _start(
        self, definition: WorkflowDefinition, args: Sequence[Any], run_id: str, digest: str, options: StartOptions
    ) -> InProcessRun:
        check_size(args, self._runner.largest)
        # A context of its own: a run must not find the run, step or host of whoever starts it.
        run = contextvars.Context().run(InProcessRun, definition, run_id, digest, self._runner, self, options)
        self._remember(run_id, run)
        run.start(args, self._runner.telemetry.spans.starting(definition.name, run_id))
        return run

    def adopt(self, run: AdoptedRun) -> None:
        """Takes in a call that has begun already."""
        self._remember(run.run_id, run)

    def _remember(self, run_id: str, run: _Run) -> None:
        self._runs[run_id] = run
        if len(self._runs) > REMEMBERED_RUNS:
            oldest = next((key for key, run in self._runs.items() if run.closed), None)
            if oldest is not None:
                self._forget(oldest)

    def _forget(self, run_id: str) -> None:
        del self._runs[run_id]
        self._record_bytes -= self._record_sizes.pop(run_id, 0)

    def ended(self, run: InProcessRun) -> None:
        """Makes room for the record of a run that has ended."""
        self._record_sizes[run.info.run_id] = run.record_size
        self._record_bytes += run.record_size
        while self._record_bytes > RECORD_BYTES:
            oldest, size = self._record_sizes.popitem(last=False)
            self._record_bytes -= size
            forgetting = self._runs[oldest]
            if isinstance(forgetting, InProcessRun):
                forgetting.forget_record()

    # Talking to runs

    def get_handle(self, workflow_id: str, workflow: str | None = None) -> InProcessHandle:
        return InProcessHandle(self, workflow_id, workflow)

    def knows(self, run_id: str) -> bool:
        return run_id in self._runs

    def run_of(self, run_id: str, workflow: str | None = None) -> _Run:
        """The run itself. Raises NotFound, also for a run of another workflow."""
        run = self._runs.get(run_id)
        if run is None or workflow not in (None, run.workflow):
            raise NotFound(f"There is no run `{run_id}`. {self.kept}")
        return run

    async def describe_run(self, run_id: str) -> RunState:
        return self.run_of(run_id).state()

    async def watch_run(self, run_id: str, *, started: bool = False) -> AsyncGenerator[RunState, None]:
        run, told = self.run_of(run_id), None
        while True:
            state = run.state()
            if state.news != told:
                told = state.news
                yield state  # meanwhile it may have changed: it is read again before anything is waited for
            elif state.closed:
                return
            else:
                await run.change()

    async def answer_run(self, run_id: str, answer: Answer) -> Receipt:
        run = self.run_of(run_id)
        if not isinstance(run, InProcessRun):
            raise AlreadyClosed(f"Run `{run_id}` is a function call: it takes no answers.")
        return _late(run, answer) if run.closed else run.answer(answer)

    async def note_refusal(self, run_id: str, request_id: str, problem: str) -> None:
        run = self.run_of(run_id)
        if isinstance(run, InProcessRun) and not run.closed:
            run.note_refusal(request_id, problem)

    async def signal_run(self, run_id: str, signal: str, args: Sequence[Any]) -> None:
        run = self.run_of(run_id)
        if isinstance(run, InProcessRun):
            run.signal(signal, args)

    async def query_run(self, run_id: str, query: str, args: Sequence[Any], workflow: str | None) -> Any:
        run = self.run_of(run_id, workflow)
        return await run.query(query, args) if isinstance(run, InProcessRun) else None

    async def cancel_run(self, run_id: str, reason: str | None = None) -> None:
        self.run_of(run_id).cancel()

    async def list_runs(self, which: RunFilter) -> RunPage:
        states = [run.state() for run in reversed(self._runs.values())]
        states.sort(key=lambda state: (state.closed_at is None, state.closed_at or state.started_at), reverse=True)
        wanted = [s for s in states if _is_wanted(s, which)]
        first = _position(which.cursor)
        last = first + which.limit
        return RunPage(tuple(wanted[first:last]), str(last) if last < len(wanted) else None)

    async def run_log(self, run_id: str, cursor: str | None = None) -> LogPage:
        return await self.run_of(run_id).record.page(run_id, cursor)

    async def run_transcript(self, run_id: str, cursor: str | None = None) -> TranscriptPage:
        run, begin = self.run_of(run_id), Position.read(run_id, cursor)
        transcript = Transcript(RESULT_STEPS)
        entries = counted(transcript.entries(run.told(*transcript.steps)), begin)
        return await page_of(run_id, entries, run.record.missing)

    async def aclose(self) -> None:
        """Cancels what still runs and waits for it."""
        tasks = [run.task for run in self._runs.values() if not run.closed]
        for run in self._runs.values():
            run.cancel()
        await asyncio.gather(*(task for task in tasks if task is not None), return_exceptions=True)


class InProcessHandle:
    """A run of the in-process engine. Satisfies `WorkflowHandle`."""

    def __init__(self, executor: InProcessExecutor, run_id: str, workflow: str | None = None) -> None:
        self._executor = executor
        self._run_id = run_id
        self._workflow = workflow

    @property
    def id(self) -> str:
        return self._run_id

    @property
    def run_id(self) -> str:
        return self._run_id

    async def result(self) -> WorkflowResult[Any]:
        run = self._executor.run_of(self._run_id, self._workflow)
        while not run.closed:
            await run.change()
        result = run.result()
        if result is not None:
            return result
        raise ending(run.state())

    async def signal(self, name: str, *args: Any) -> None:
        self._executor.run_of(self._run_id, self._workflow)
        await self._executor.signal_run(self._run_id, name, args)

    async def query(self, name: str, *args: Any) -> Any:
        return await self._executor.query_run(self._run_id, name, args, self._workflow)

    async def update(self, name: str, *args: Any) -> Any:
        run = self._executor.run_of(self._run_id, self._workflow)
        if not isinstance(run, InProcessRun):
            raise NotFound(f"Run `{self._run_id}` is a function call: it has no updates.")
        return await run.update(name, args)

    async def cancel(self, reason: str | None = None) -> None:
        self._executor.run_of(self._run_id, self._workflow).cancel()

    async def terminate(self, reason: str | None = None) -> None:
        self._executor.run_of(self._run_id, self._workflow).terminate(reason)

    async def describe(self) -> RunState:
        return self._executor.run_of(self._run_id, self._workflow).state()


def _is_wanted(state: RunState, which: RunFilter) -> bool:
    known = not which.workflows or state.workflow in which.workflows
    return known and which.status in (None, state.status) and state.run_id.startswith(which.prefix)


def _position(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit()):
        raise InvalidArguments(f"`cursor`: `{cursor[:40]}` is not one that a listing returned.")
    return int(cursor)


def _late(run: InProcessRun, answer: Answer) -> Receipt:
    """An answer to a closed run: harmless if it is the one that was given."""
    if answer.request_id is not None:
        with suppress(CallError):
            receipt = run.mailbox.plan(answer)
            if receipt.duplicate:
                return receipt
    raise AlreadyClosed(f"Run `{run.info.run_id}` has ended: it takes no more answers.")


@asynccontextmanager
async def open_executor(registry: Registry, tasks: Mapping[str, TaskDefinition]) -> AsyncGenerator[InProcessExecutor, None]:
    """The engine for one app, until the block ends; what still runs then is cancelled."""
    with stepping(asyncio.get_running_loop()):
        executor = InProcessExecutor(registry, tasks)
        try:
            yield executor
        finally:
            await executor.aclose()
