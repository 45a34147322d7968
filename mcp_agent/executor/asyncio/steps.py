"""Runs steps in this process: time-outs, retries and the round trip of values, as a Temporal activity has them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Self

from mcp_agent.errors import StepCancelledError, StepTimeoutError, WorkflowApplicationError
from mcp_agent.executor import runtime, step_context
from mcp_agent.executor.asyncio.stepping import owner
from mcp_agent.executor.failures import as_step_failure, contained, in_thread
from mcp_agent.executor.payloads import PAYLOAD_LIMIT, decode, encode, reading
from mcp_agent.executor.records import Happened, LogEntry, StepTold
from mcp_agent.executor.retry import RetryPolicies, RetryPolicyLike, delay_before
from mcp_agent.executor.runs import StepState, partial_text_of, progress_of
from mcp_agent.executor.scoped import Scoped
from mcp_agent.executor.steps import DEFAULT_START_TO_CLOSE, StepCall
from mcp_agent.executor.workflow_task import TaskDefinition
from mcp_agent.observability.telemetry import Telemetry, attempt_outcome

RECORD_SIZE = 1_000
"""Bytes that the record of a step takes beyond its values, about."""


@dataclass(slots=True)
class StepRecord:
    """A step that a run made: what Temporal's history would hold of it.

    `told` is called, in whichever thread the step is, when a heartbeat tells what others wait for.
    """

    name: str
    arguments: list[bytes]
    state: StepState
    number: int = 1
    asked_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    begun_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    done_at: datetime | None = None
    result: bytes | None = None
    heartbeat: tuple[Any, ...] = ()
    told: Callable[[], Any] = lambda: None

    def entry(self, what: Happened, error: BaseException | None = None, **about: Any) -> LogEntry:
        """What happens to it now."""
        message = f"{error.type}: {error.message}" if isinstance(error, WorkflowApplicationError) else None
        return LogEntry(at=datetime.now(UTC), what=what, name=self.name, id=str(self.number), message=message, **about)

    def keep_heartbeat(self, *details: Any) -> None:
        self.heartbeat = details
        told = {"partial_text": partial_text_of(details), "progress": progress_of(details)}
        if told != {"partial_text": self.state.partial_text, "progress": self.state.progress}:
            self.state = self.state.model_copy(update=told)
            self.told()


@dataclass(slots=True)
class StepJournal:
    """The steps of one run, in the order in which they began. Satisfies `StepHistory`."""

    records: list[StepRecord] = field(default_factory=list[StepRecord])
    note: Callable[[LogEntry], None] = lambda entry: None

    def begin(self, name: str, arguments: list[bytes]) -> StepRecord:
        """A step is asked for."""
        record = StepRecord(name, arguments, StepState(name=name), number=len(self.records) + 1)
        self.records.append(record)
        self.note(record.entry("step_scheduled"))
        return record

    def end(self, record: StepRecord, error: BaseException | None = None) -> None:
        """A step has a result, or ends with an error for good."""
        record.done_at = datetime.now(UTC)
        seconds = (record.done_at - record.begun_at).total_seconds()
        self.note(record.entry(_ending(error), error, attempt=record.state.attempt, seconds=seconds))

    @property
    def size(self) -> int:
        """About how many bytes it holds."""
        return sum(RECORD_SIZE + len(record.result or b"") + sum(map(len, record.arguments)) for record in self.records)

    async def told(self, *steps: str) -> AsyncIterator[StepTold]:
        """The steps of these names, in the order in which they were asked for and had a result."""
        told: list[StepTold] = []
        for record in self.records:
            if record.name in steps:
                asked = StepTold(record.asked_at, record.name, record.arguments[0])
                told.append(asked)
                if record.result is not None and record.done_at is not None:
                    told.append(replace(asked, at=record.done_at, result=record.result))
        for one in sorted(told, key=lambda one: one.at):
            yield one

    async def completed(self, *steps: str) -> AsyncIterator[tuple[str, bytes, bytes]]:
        for record in self.records:
            if record.name in steps and record.result is not None:
                yield record.name, record.arguments[0], record.result

    async def arguments(self, step: str) -> AsyncIterator[bytes]:
        for record in self.records:
            if record.name == step:
                yield record.arguments[0]

    def under_way(self) -> tuple[StepState, ...]:
        return tuple(record.state for record in self.records if record.done_at is None)


def _ending(error: BaseException | None) -> Happened:
    if error is None:
        return "step_completed"
    if isinstance(error, asyncio.CancelledError | StepCancelledError):
        return "step_cancelled"
    return "step_timed_out" if isinstance(error, StepTimeoutError) else "step_failed"


class StepRunner:
    """Runs the steps of one app.

    Args:
        tasks: The app's tasks and the framework's own steps, by name.
        policies: The configured retry policies.
        around: What each attempt is run in.
        largest: The most bytes that one value may have.
        telemetry: What attempts are measured and traced with.
    """

    def __init__(
        self,
        tasks: Mapping[str, TaskDefinition],
        policies: RetryPolicies,
        around: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
        largest: int = PAYLOAD_LIMIT,
        telemetry: Telemetry | None = None,
    ) -> None:
        self.largest = largest
        self._tasks = tasks
        self._policies = policies
        self._around = around
        self.telemetry = telemetry or Telemetry()

    async def run(self, call: StepCall, journal: StepJournal, info: runtime.RunInfo, changed: Callable[[], None]) -> Any:
        """One call with all its attempts. Raises WorkflowApplicationError or StepTimeoutError."""
        task = self._tasks.get(call.name)
        if task is None:
            raise WorkflowApplicationError(
                f"No step `{call.name}` is registered: add its module to `workflow_task_modules`.",
                type="NotFoundError",
                non_retryable=True,
            )
        what = f"An argument of step `{call.name}`"
        record = journal.begin(call.name, [encode(arg, what, self.largest) for arg in call.args])
        record.told = partial(asyncio.get_running_loop().call_soon_threadsafe, changed)
        changed()
        try:
            async with _total_time(call) as time:
                record.result = await self._attempts(task, call, record, journal, info, changed, time)
            journal.end(record)
        except BaseException as error:
            journal.end(record, error)
            raise
        finally:
            changed()
        with reading(f"The result of step `{call.name}`"):
            return decode(record.result, call.result_type)

    async def _attempts(
        self,
        task: TaskDefinition,
        call: StepCall,
        record: StepRecord,
        journal: StepJournal,
        info: runtime.RunInfo,
        changed: Callable[[], None],
        time: _total_time,
    ) -> bytes:
        policy = self._policies.of(call.name, call.options.retry_policy)
        telemetry, parent = self.telemetry, self.telemetry.spans.scheduling(call.name)
        attempt = 0
        while True:
            attempt += 1
            record.begun_at = datetime.now(UTC)
            try:
                with (
                    telemetry.spans.attempt(call.name, info.run_id, attempt, parent),
                    telemetry.attempt(info.workflow, call.name, attempt_outcome),
                ):
                    return await self._attempt(task, call, record, journal, info, attempt)
            except Exception as error:
                failure = as_step_failure(error)
                if _is_final(failure, policy, attempt):
                    raise failure from error
                delay = failure.next_retry_delay or delay_before(policy, attempt + 1)
                if time.over_in(delay):
                    raise failure from error
                journal.note(record.entry("step_attempt_failed", failure, attempt=attempt))
                record.state = StepState(
                    name=call.name,
                    attempt=attempt + 1,
                    last_error=f"{failure.type}: {failure.message}",
                    next_retry_at=datetime.now(UTC) + delay,
                )
                changed()
                await asyncio.sleep(delay.total_seconds())
                record.state = record.state.model_copy(update={"next_retry_at": None})
                changed()

    async def _attempt(
        self,
        task: TaskDefinition,
        call: StepCall,
        record: StepRecord,
        journal: StepJournal,
        info: runtime.RunInfo,
        attempt: int,
    ) -> bytes:
        types = task.types_of(len(record.arguments))
        with reading(f"An argument of step `{call.name}`"):
            args = [decode(data, type_) for data, type_ in zip(record.arguments, types, strict=True)]
        context = step_context.StepContext(
            call.name, info.run_id, info.workflow, attempt, record.keep_heartbeat, record.heartbeat, journal, info.engine_run_id
        )
        limit = call.options.start_to_close_timeout or DEFAULT_START_TO_CLOSE
        clock = asyncio.timeout(limit.total_seconds())
        try:
            # A step is not workflow code: what it calls must not find the run.
            with Scoped(owner, None), runtime.entered(None), step_context.entered(context):
                async with self._around(), clock:
                    result = await _call(task.function, args)
        except TimeoutError:
            if not clock.expired():
                raise
            raise StepTimeoutError(
                f"Step `{call.name}` took longer than {limit.total_seconds():g} s.", type="TimeoutError"
            ) from None
        return encode(result, f"The result of step `{call.name}`", self.largest)


async def _call(function: Callable[..., Any], args: list[Any]) -> Any:
    waiting = asyncio.current_task()
    try:
        with contained():
            return await (function(*args) if inspect.iscoroutinefunction(function) else in_thread(function, *args))
    except asyncio.CancelledError:
        if waiting is not None and not waiting.cancelling():  # nobody has cancelled it: it says so of itself
            raise StepCancelledError("The step has cancelled itself.", type="CancelledError") from None
        raise


class _total_time:  # noqa: N801 - reads as a block
    """Bounds all attempts of a call by `schedule_to_close_timeout`."""

    def __init__(self, call: StepCall) -> None:
        self._call = call
        limit: timedelta | None = call.options.schedule_to_close_timeout
        self._timeout = asyncio.timeout(None if limit is None else limit.total_seconds())

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        return self

    def over_in(self, delay: timedelta) -> bool:
        """Whether nothing is left of it after `delay`: there is no other attempt then, and the last error stands."""
        until = self._timeout.when()
        return until is not None and asyncio.get_running_loop().time() + delay.total_seconds() >= until

    async def __aexit__(self, *error: Any) -> None:
        try:
            await self._timeout.__aexit__(*error)
        except TimeoutError:
            limit = self._call.options.schedule_to_close_timeout
            assert limit is not None
            raise StepTimeoutError(
                f"Step `{self._call.name}` and its retries took longer than {limit.total_seconds():g} s.",
                type="TimeoutError",
            ) from None


def _is_final(failure: WorkflowApplicationError, policy: RetryPolicyLike, attempt: int) -> bool:
    if failure.non_retryable or failure.type in (policy.non_retryable_error_types or ()):
        return True
    return policy.maximum_attempts != 0 and attempt >= policy.maximum_attempts
