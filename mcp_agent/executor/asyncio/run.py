"""One run of the in-process engine: a workflow object, its task, its handlers, and what the outside may see."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
import uuid
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Protocol

from mcp_agent.errors import (
    AlreadyClosed,
    NotFound,
    RunCancelledError,
    StepCancelledError,
    WorkflowApplicationError,
)
from mcp_agent.executor import runtime
from mcp_agent.executor.asyncio.children import InProcessChild
from mcp_agent.executor.asyncio.recording import Recording
from mcp_agent.executor.asyncio.stepping import owner
from mcp_agent.executor.asyncio.steps import StepJournal, StepRunner
from mcp_agent.executor.children import ChildOptions, ParentClosePolicy
from mcp_agent.executor.continuing import ContinueAsNew
from mcp_agent.executor.definition import WorkflowDefinition
from mcp_agent.executor.failures import as_step_failure, contained, error_text, query_failure, run_failure, termination
from mcp_agent.executor.handlers import Handler, typed_arguments
from mcp_agent.executor.lines import KeepingLogger
from mcp_agent.executor.payloads import check_size, decode, encode, reading, round_trip
from mcp_agent.executor.records import StepTold, answered
from mcp_agent.executor.runs import Answer, Receipt, RunFailure, RunState, RunStatus
from mcp_agent.executor.start_options import StartOptions
from mcp_agent.executor.steps import StepCall
from mcp_agent.executor.workflow import WorkflowResult
from mcp_agent.observability.metrics import RUNS_STARTED, Metrics

logger = logging.getLogger("mcp_agent.workflow")
_PLAIN = WorkflowResult[Any]


class Siblings(Protocol):
    """The other runs of the process, as a run sees them."""

    def start_child(self, parent: InProcessRun, workflow: str, args: Sequence[Any], options: ChildOptions) -> InProcessRun: ...

    async def signal_run(self, run_id: str, signal: str, args: Sequence[Any]) -> None: ...

    def ended(self, run: InProcessRun) -> None:
        """Told when a run has ended."""


class InProcessRun(runtime.WorkflowRuntime):
    """A run. Its code sees it as the runtime; the executor starts it, talks to it and reads `state()`."""

    def __init__(
        self,
        definition: WorkflowDefinition,
        run_id: str,
        input_digest: str,
        runner: StepRunner,
        siblings: Siblings,
        options: StartOptions,
    ) -> None:
        super().__init__()
        self.definition = definition
        self.input_digest = input_digest
        self._siblings = siblings
        self._options = options
        self._children: list[tuple[InProcessRun, ParentClosePolicy]] = []
        self._clocks: list[asyncio.TimerHandle] = []
        loop = asyncio.get_running_loop()
        self._info = runtime.RunInfo(run_id, definition.name, run_id)
        self.record = Recording()
        adapter = logging.LoggerAdapter(logger, {"run_id": run_id, "workflow": definition.name})
        self._logger = KeepingLogger(adapter, self.record.line)
        self._runner = runner
        self._loop = loop
        self._journal = StepJournal(note=self.record.add)
        self._conditions: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._handlers: set[asyncio.Task[Any]] = set()
        self._tasks: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        self._watchers: set[asyncio.Future[None]] = set()
        self._object: Any = None
        self._task: asyncio.Task[None] | None = None
        self._started = self._updated = datetime.now(UTC)
        self._closed: datetime | None = None
        self._status: RunStatus = "running"
        self._result: WorkflowResult[Any] | None = None
        self._plain: WorkflowResult[Any] | None = None  # the same as JSON-compatible data
        self._failure: RunFailure | None = None
        self._handler_error: Exception | None = None
        self.cancel_requested = False
        self.at_end: Callable[[], None] = lambda: None
        self._context = contextvars.copy_context()
        self._context.run(self._enter)

    def _enter(self) -> None:
        runtime.make_current(self)
        owner.set(self)

    # Its life

    def start(self, args: Sequence[Any], parent: Any = None) -> None:
        """Begins to run with arguments that `definition.bind` made. `parent` is the span that it belongs to."""
        self.record.note("started", name=self._info.workflow)
        limits = [limit for limit in (self._options.execution_timeout, self._options.run_timeout) if limit is not None]
        if limits:
            self._clocks.append(self._loop.call_later(min(limits).total_seconds(), self._time_out))
        self.metrics.add(RUNS_STARTED, workflow=self.workflow)
        self._task = self._loop.create_task(self._traced(list(args), parent), context=self._context)
        self._task.add_done_callback(self._note_end)

    def _note_end(self, _: asyncio.Task[None]) -> None:
        if not self.closed:  # cancelled before its first step
            self._end_cancelled()

    async def _traced(self, args: list[Any], parent: Any) -> None:
        with self._runner.telemetry.spans.run(self.workflow, self._info.run_id, parent) as span:
            await self._main(args)
            if self._failure is not None:
                span.failed(self._failure.code)

    async def _main(self, args: list[Any]) -> None:
        try:
            if self._options.start_delay is not None:
                await asyncio.sleep(self._options.start_delay.total_seconds())
            try:
                result = self.concluded(await self._run_through(args))
            finally:
                await self._settle()
            stored = encode(result, f"The result of `{self.definition.name}`", self._runner.largest)
            with reading(f"The result of `{self.definition.name}`"):
                self._result = decode(stored, self.definition.result_type)
            self._plain = decode(stored, _PLAIN)
            if result.error is not None:
                self._failure = RunFailure(code="workflow_error", message=result.error)
            self._end("completed" if result.error is None else "failed")
        except asyncio.CancelledError:
            self._end_cancelled()
        except Exception as error:
            self._fail(error)

    async def _run_through(self, args: list[Any]) -> Any:
        """Calls `run`, and again as often as it continues as new."""
        while True:
            with contained():
                self._object = self.definition.cls()
            types = [p.annotation for p in self.definition.parameters]
            typed = [round_trip(a, t, "An argument of `run`") for a, t in zip(args, types, strict=True)]
            try:
                with contained():
                    return await self.definition.run(self._object, *typed)
            except ContinueAsNew as again:
                await self.wait_condition(self.all_handlers_finished)
                self._leave_behind()
                args = self.definition.bind_positional(again.new_args)
                self.record.note("continued", name=self._info.workflow)

    def _leave_behind(self) -> None:
        """Ends what belongs to the run that is continued: what it still asks, and the tasks that it has left."""
        self.progress = None
        self.mailbox.withdraw(self.now())
        self._cancel_left()
        self.publish()

    def _cancel_left(self) -> None:
        for task in list(self._tasks):
            if task is not self._task:
                task.cancel()

    async def _settle(self) -> None:
        """Waits for children that were cancelled: `asyncio.gather` gives up before they have cleaned up."""
        for child, _ in self._children:
            while child.cancel_requested and not child.closed and not self.closed:
                await child.change()

    def _time_out(self) -> None:
        if not self.closed:
            self._end("timed_out")
            if self._task is not None:
                self._task.cancel()

    def _end_cancelled(self) -> None:
        if self._handler_error is not None:
            self._fail(self._handler_error)
        else:
            self._end("cancelled")

    def _fail(self, error: Exception) -> None:
        self._failure = run_failure(error)
        logger.info("run %s failed: %s: %s", self._info.run_id, self._failure.code, self._failure.message)
        self._end("failed")

    def _end(self, status: RunStatus) -> None:
        if self.closed:
            return
        self._status = status
        self._closed = datetime.now(UTC)
        for task in self._handlers:
            task.cancel()
        for clock in self._clocks:
            clock.cancel()
        for child, policy in self._children:
            if policy == "terminate":
                child.terminate()
            elif policy == "request_cancel":
                child.cancel()
        self._cancel_left()
        self._conditions.clear()
        self.record.ended(self.state())
        self.measure_end(status, self._closed - self._started)
        self._siblings.ended(self)
        self.at_end()
        self._changed()

    @property
    def workflow(self) -> str:
        return self._info.workflow

    @property
    def closed(self) -> bool:
        return self._closed is not None

    @property
    def task(self) -> asyncio.Task[None] | None:
        return self._task

    def cancel(self) -> None:
        if self._task is not None and not self.closed and not self.cancel_requested:
            self.cancel_requested = True
            self.record.note("cancel_requested")
            self._task.cancel()

    def terminate(self, reason: str | None = None) -> None:
        if not self.closed:
            self._failure = termination(reason)
            self._end("terminated")
            if self._task is not None:
                self._task.cancel()

    # What the outside reads

    def state(self) -> RunState:
        state = self.public_state()
        status = self._status
        if status == "running" and state.pending_inputs:
            status = "waiting_for_input"
        return RunState(
            run_id=self._info.run_id,
            workflow=self._info.workflow,
            status=status,
            started_at=self._started,
            updated_at=self._updated,
            closed_at=self._closed,
            cancel_requested=self.cancel_requested,
            result=None if self._plain is None else self._plain.value,
            metadata={} if self._plain is None else self._plain.metadata,
            error=self._failure,
            pending_inputs=() if self.closed else tuple(state.pending_inputs),
            steps=() if self.closed else self._journal.under_way(),
            progress=state.progress,
            usage=state.usage,
            memo=dict(self._options.memo),
        )

    def result(self) -> WorkflowResult[Any] | None:
        return self._result

    def told(self, *steps: str) -> AsyncIterator[StepTold]:
        """The steps of these names."""
        return self._journal.told(*steps)

    @property
    def record_size(self) -> int:
        """About how many bytes are held of what happened."""
        return self.record.size + self._journal.size

    def forget_record(self) -> None:
        """Makes room for others, after the run's end."""
        self.record.forget()
        self._journal = StepJournal()

    async def change(self) -> None:
        """Waits until `state()` may have changed."""
        future = self._loop.create_future()
        self._watchers.add(future)
        try:
            await future
        finally:
            self._watchers.discard(future)

    # What the outside sends

    def answer(self, answer: Answer) -> Receipt:
        check_size([answer.payload], self._runner.largest)
        receipt = self.mailbox.accept(answer)
        self.record.add(answered(answer, datetime.now(UTC)))
        self.wake()
        self._changed()
        return receipt

    def note_refusal(self, request_id: str, problem: str) -> None:
        self.mailbox.note_refusal(request_id, problem)
        self.publish()

    def signal(self, name: str, args: Sequence[Any]) -> None:
        """Calls the handler for `name`, or keeps the signal for who waits for it. Raises AlreadyClosed, InvalidArguments."""
        if self.closed:
            raise AlreadyClosed(f"Run `{self._info.run_id}` has ended: it takes no more signals.")
        handler = self.definition.handler("signal", name, dynamic=True)
        check_size(args, self._runner.largest)
        sent = [round_trip(arg, None, f"An argument of signal `{name}`") for arg in args]
        self.record.note("signal_received", name=name)
        if handler is not None:
            self._spawn(self._signal(handler, [name, sent] if handler.name is None else typed_arguments(handler, sent)))
        else:
            self.mailbox.deliver(name, sent[0] if sent else None)
            self.wake()
        self._changed()

    def _spawn(self, handling: Any) -> asyncio.Task[Any]:
        context = self._context.copy()
        context.run(runtime.in_handler)
        task = self._loop.create_task(handling, context=context)
        self._handlers.add(task)
        task.add_done_callback(self._handled)
        return task

    def _handled(self, task: asyncio.Task[Any]) -> None:
        self._handlers.discard(task)
        self.wake()  # the run may wait for its handlers

    async def _signal(self, handler: Handler, args: list[Any]) -> None:
        try:
            await self._call(handler, args)
        except Exception as error:
            self._handler_error = error
            if self._task is not None:
                self._task.cancel()

    async def _call(self, handler: Handler, args: list[Any]) -> Any:
        with contained():
            made = handler.function(self._object, *args)
            return await made if asyncio.iscoroutine(made) else made

    async def query(self, name: str, args: Sequence[Any]) -> Any:
        """Answers a query of a running or closed run. Raises NotFound."""
        handler = self._handler("query", name)
        await asyncio.sleep(0)  # a run that was started just now takes its first step
        if self._object is None:  # its start is delayed
            self._object = self._context.copy().run(self.definition.cls)
        given = [name, list(args)] if handler.name is None else typed_arguments(handler, args)
        try:
            with contained():
                answer = handler.function(self._object, *given)
            return round_trip(answer, None, f"The answer of query `{name}`")
        except Exception as error:
            raise query_failure(self._info.run_id, name, error_text(error)) from error

    async def update(self, name: str, args: Sequence[Any]) -> Any:
        """Calls an update handler, after its validator. Raises WorkflowApplicationError, NotFound, AlreadyClosed."""
        if self.closed:
            raise AlreadyClosed(f"Run `{self._info.run_id}` has ended: it takes no more updates.")
        handler = self._handler("update", name)
        await asyncio.sleep(0)  # a run that was started just now takes its first step
        check_size(args, self._runner.largest)
        sent = [round_trip(arg, None, f"An argument of update `{name}`") for arg in args]
        given = [name, sent] if handler.name is None else typed_arguments(handler, sent)
        updating = self._spawn(self._update(handler, given))
        try:
            return await asyncio.shield(updating)
        except asyncio.CancelledError:
            if updating.cancelled():
                raise AlreadyClosed(f"Run `{self._info.run_id}` has ended before its update `{name}`.") from None
            raise
        except Exception as error:
            raise as_step_failure(error) from error

    async def _update(self, handler: Handler, args: list[Any]) -> Any:
        if handler.validator is not None:
            with contained():
                handler.validator(self._object, *args)
        self.record.note("update_received", name=handler.name)
        return round_trip(await self._call(handler, args), None, f"The answer of update `{handler.name}`")

    def _handler(self, kind: str, name: str) -> Handler:
        handler = self.definition.handler(kind, name, dynamic=True)
        if handler is None:
            known = ", ".join(f"`{h.name}`" for h in self.definition.handlers if h.kind == kind) or "none"
            raise NotFound(f"Workflow `{self._info.workflow}` has no {kind} `{name}`; it has {known}.")
        return handler

    # What its code stands on

    @property
    def info(self) -> runtime.RunInfo:
        return self._info

    @property
    def logger(self) -> KeepingLogger:
        return self._logger

    def now(self) -> datetime:
        return datetime.now(UTC)

    @cached_property
    def _random(self) -> random.Random:
        return random.Random(self._info.run_id)

    def random(self) -> random.Random:
        return self._random

    def uuid4(self) -> uuid.UUID:
        return uuid.UUID(int=self._random.getrandbits(128), version=4)

    def is_replaying(self) -> bool:
        return False

    async def sleep(self, duration: timedelta) -> None:
        with self.record.timer(duration):
            await asyncio.sleep(duration.total_seconds())

    async def wait_condition(self, condition: Callable[[], bool], timeout: timedelta | None = None) -> None:
        if condition():
            return
        entry = (condition, self._loop.create_future())
        self._conditions.append(entry)
        try:
            async with asyncio.timeout(None if timeout is None else timeout.total_seconds()):
                await entry[1]
        finally:
            if entry in self._conditions:
                self._conditions.remove(entry)

    def wake(self) -> None:
        """Asks every condition again; called after each step that one of the run's tasks takes."""
        if not self._conditions:
            return
        with runtime.entered(self):  # whoever calls this
            for condition, future in self._conditions:
                if future.done():
                    continue
                try:
                    with contained():
                        met = condition()
                    if met:
                        future.set_result(None)
                except Exception as error:
                    future.set_exception(error)

    def adopt(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)

    async def run_step(self, call: StepCall) -> Any:
        if self.closed:  # terminated: what its code still does has no effect
            raise asyncio.CancelledError
        return await self._runner.run(call, self._journal, self._info, self._changed)

    def publish(self, *, failed: bool = False) -> None:
        self.record.published(self.public_state(failed=failed))
        self._changed()

    def get_version(self, change_id: str, minimum: int, maximum: int) -> int:
        return maximum

    def should_continue_as_new(self) -> bool:
        return False

    async def start_child(self, name: str, args: Sequence[Any], options: ChildOptions, result_type: Any) -> InProcessChild:
        child = self._siblings.start_child(self, name, args, options)
        self._children.append((child, options.parent_close_policy))
        self.record.note("child_started", name=child.workflow, id=child.info.run_id)
        child.at_end = lambda: self._note_child(child)
        return InProcessChild(child)

    def _note_child(self, child: InProcessRun) -> None:
        state = child.state()
        message = None if state.error is None else state.error.message
        self.record.note("child_ended", name=child.workflow, id=state.run_id, status=state.status, message=message)

    async def signal_run(self, run_id: str, name: str, args: Sequence[Any]) -> None:
        for arg in args:
            encode(arg, f"An argument of signal `{name}`", self._runner.largest)
        self.record.note("signal_sent", name=name, id=run_id)
        try:
            await self._siblings.signal_run(run_id, name, args)
            await asyncio.sleep(0)  # on Temporal too a signal takes until after the next wait
        except (NotFound, AlreadyClosed) as error:
            raise WorkflowApplicationError(str(error), type="NotFound", non_retryable=True) from None

    @property
    def metrics(self) -> Metrics:
        return self._runner.telemetry.metrics

    def is_cancellation(self, error: BaseException) -> bool:
        return isinstance(error, RunCancelledError | StepCancelledError)

    def all_handlers_finished(self) -> bool:
        return not self._handlers

    def _changed(self) -> None:
        self._updated = datetime.now(UTC)
        for future in self._watchers:
            if not future.done():
                future.set_result(None)
