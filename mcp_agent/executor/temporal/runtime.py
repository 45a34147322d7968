"""A run on Temporal, seen from inside: the workflow API of this package in terms of Temporal's."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import random
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import anyio
import anyio._backends._asyncio  # pyright: ignore[reportUnusedImport] - else imported lazily, inside the sandbox
from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError
from temporalio.exceptions import TimeoutError as TemporalTimeoutError

from mcp_agent.errors import StepCancelledError, StepTimeoutError, WorkflowApplicationError
from mcp_agent.executor import runtime
from mcp_agent.executor.payloads import encode
from mcp_agent.executor.retry import RetryPolicies, RetryPolicyLike
from mcp_agent.executor.steps import DEFAULT_HEARTBEAT, DEFAULT_START_TO_CLOSE, StepCall
from mcp_agent.executor.temporal.names import CHANGED_EXTERN, STATE_MEMO

_OPTIONS = ("schedule_to_close_timeout", "schedule_to_start_timeout", "task_queue", "summary")


class TemporalRuntime(runtime.WorkflowRuntime):
    """One object a run, made by the worker's interceptor.

    Args:
        policies: The configured retry policies of steps.
    """

    def __init__(self, policies: RetryPolicies) -> None:
        super().__init__()
        self._policies = policies

    @cached_property
    def info(self) -> runtime.RunInfo:  # pyright: ignore[reportIncompatibleMethodOverride] - not known before the run begins
        own = workflow.info()
        return runtime.RunInfo(own.workflow_id, own.workflow_type, own.run_id, own.task_queue)

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        return workflow.logger

    def now(self) -> datetime:
        return workflow.now()

    def random(self) -> random.Random:
        return workflow.random()

    def uuid4(self) -> uuid.UUID:
        return workflow.uuid4()

    def is_replaying(self) -> bool:
        return workflow.unsafe.is_replaying()

    async def sleep(self, duration: timedelta) -> None:
        await workflow.sleep(duration)

    async def wait_condition(self, condition: Callable[[], bool], timeout: timedelta | None = None) -> None:
        await workflow.wait_condition(condition, timeout=timeout)

    def all_handlers_finished(self) -> bool:
        return workflow.all_handlers_finished()

    def publish(self, *, failed: bool = False) -> None:
        state = self.public_state(failed=failed)
        workflow.upsert_memo({STATE_MEMO: state.model_dump(mode="json", by_alias=True, exclude_defaults=True)})
        if not self.is_replaying():
            workflow.extern_functions()[CHANGED_EXTERN](self.info.run_id)

    async def run_step(self, call: StepCall) -> Any:
        for arg in call.args:
            encode(arg, f"An argument of step `{call.name}`")
        try:
            return await _execute(call, self._config(call))
        except ActivityError as error:
            raise _as_step_failure(call, error) from None

    def _config(self, call: StepCall) -> dict[str, Any]:
        options = call.options
        policy = self._policies.of(call.name, options.retry_policy)
        return {
            "start_to_close_timeout": options.start_to_close_timeout or DEFAULT_START_TO_CLOSE,
            "heartbeat_timeout": options.heartbeat_timeout or DEFAULT_HEARTBEAT,
            "retry_policy": temporal_policy(policy),
            "cancellation_type": workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            **{name: getattr(options, name) for name in _OPTIONS},
        }


def temporal_policy(policy: RetryPolicyLike) -> RetryPolicy:
    """The same policy as Temporal's class."""
    return RetryPolicy(**{field.name: getattr(policy, field.name) for field in dataclasses.fields(RetryPolicy)})


async def _execute(call: StepCall, config: dict[str, Any]) -> Any:
    """Runs an activity so that cancellation has asyncio's meaning.

    Who waits sees CancelledError at once and decides what it becomes (a time-out, a cancelled run); the activity is asked
    to stop exactly once, and has stopped before this returns. A bare `execute_activity` does neither
    (temporalio 1.35: no TimeoutError leaves `asyncio.timeout`, and an anyio scope spins).
    """
    handle = workflow.start_activity(call.name, args=list(call.args), result_type=call.result_type, **config)
    try:
        return await asyncio.shield(handle)
    except asyncio.CancelledError:
        if not handle.done():
            handle.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.wait([handle])
        raise


def _as_step_failure(call: StepCall, error: ActivityError) -> WorkflowApplicationError:
    cause = error.cause
    if isinstance(cause, ApplicationError):
        return WorkflowApplicationError(
            cause.message, *cause.details, type=cause.type or "ApplicationError", non_retryable=cause.non_retryable
        )
    if isinstance(cause, TemporalTimeoutError):
        kind = "" if cause.type is None else f" ({cause.type.name.lower()})"
        return StepTimeoutError(f"Step `{call.name}` ran out of time{kind}.", type="TimeoutError")
    if isinstance(cause, CancelledError):
        return StepCancelledError(f"Step `{call.name}` was cancelled.", type="CancelledError")
    return WorkflowApplicationError(str(cause or error), type=type(cause or error).__name__)
