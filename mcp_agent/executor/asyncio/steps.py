"""Runs steps in this process: time-outs, retries and the round trip of values, as a Temporal activity has them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from mcp_agent.errors import StepCancelledError, StepTimeoutError, WorkflowApplicationError
from mcp_agent.executor import runtime, step_context
from mcp_agent.executor.asyncio.stepping import owner
from mcp_agent.executor.failures import as_step_failure, contained, in_thread
from mcp_agent.executor.payloads import decode, encode, reading
from mcp_agent.executor.retry import RetryPolicies, RetryPolicyLike, delay_before
from mcp_agent.executor.runs import StepState, partial_text_of, progress_of
from mcp_agent.executor.scoped import Scoped
from mcp_agent.executor.steps import DEFAULT_START_TO_CLOSE, StepCall
from mcp_agent.executor.workflow_task import TaskDefinition


@dataclass(slots=True)
class StepRecord:
    """A step that a run made: what Temporal's history would hold of it."""

    name: str
    arguments: list[bytes]
    state: StepState
    result: bytes | None = None
    done: bool = False
    heartbeat: tuple[Any, ...] = ()

    def keep_heartbeat(self, *details: Any) -> None:
        self.heartbeat = details
        told = {"partial_text": partial_text_of(details), "progress": progress_of(details)}
        if told != {"partial_text": self.state.partial_text, "progress": self.state.progress}:
            self.state = self.state.model_copy(update=told)


@dataclass(slots=True)
class StepJournal:
    """The steps of one run, in the order in which they began. Satisfies `StepHistory`."""

    records: list[StepRecord] = field(default_factory=list[StepRecord])

    async def completed(self, *steps: str) -> AsyncIterator[tuple[str, bytes, bytes]]:
        for record in self.records:
            if record.name in steps and record.result is not None:
                yield record.name, record.arguments[0], record.result

    async def arguments(self, step: str) -> AsyncIterator[bytes]:
        for record in self.records:
            if record.name == step:
                yield record.arguments[0]

    def under_way(self) -> tuple[StepState, ...]:
        return tuple(record.state for record in self.records if not record.done)


class StepRunner:
    """Runs the steps of one app.

    Args:
        tasks: The app's tasks and the framework's own steps, by name.
        policies: The configured retry policies.
        around: What each attempt is run in.
    """

    def __init__(
        self,
        tasks: Mapping[str, TaskDefinition],
        policies: RetryPolicies,
        around: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
    ) -> None:
        self._tasks = tasks
        self._policies = policies
        self._around = around

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
        record = StepRecord(call.name, [encode(arg, what) for arg in call.args], StepState(name=call.name))
        journal.records.append(record)
        changed()
        try:
            async with _total_time(call):
                record.result = await self._attempts(task, call, record, journal, info, changed)
        finally:
            record.done = True
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
    ) -> bytes:
        policy = self._policies.of(call.name, call.options.retry_policy)
        limit = call.options.schedule_to_close_timeout
        ends = None if limit is None else datetime.now(UTC) + limit
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._attempt(task, call, record, journal, info, attempt)
            except Exception as error:
                failure = as_step_failure(error)
                if _is_final(failure, policy, attempt):
                    raise failure from error
                delay = failure.next_retry_delay or delay_before(policy, attempt + 1)
                again_at = datetime.now(UTC) + delay
                if ends is not None and again_at >= ends:  # as on Temporal: there would be no time left
                    raise failure from error
                record.state = StepState(
                    name=call.name,
                    attempt=attempt + 1,
                    last_error=f"{failure.type}: {failure.message}",
                    next_retry_at=again_at,
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
        return encode(result, f"The result of step `{call.name}`")


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

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

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
