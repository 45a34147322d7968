"""A run on Temporal, seen from inside: the workflow API of this package in terms of Temporal's."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, cast

from pydantic import BaseModel
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import Priority, RawValue, RetryPolicy, SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError, FailureError, WorkflowAlreadyStartedError
from temporalio.exceptions import TimeoutError as TemporalTimeoutError

from mcp_agent.errors import IdempotencyConflict, StepCancelledError, StepTimeoutError, WorkflowApplicationError
from mcp_agent.executor import runtime
from mcp_agent.executor.children import ChildOptions
from mcp_agent.executor.continuing import VersionRemoved
from mcp_agent.executor.definition import input_digest
from mcp_agent.executor.lines import KeepingLogger, KeptLines
from mcp_agent.executor.payloads import PAYLOAD_LIMIT, check_size, decode, encode, json_of, reading, too_large
from mcp_agent.executor.retry import RetryPolicies, RetryPolicyLike
from mcp_agent.executor.runs import CallUsage, RunUsage
from mcp_agent.executor.steps import DEFAULT_HEARTBEAT, DEFAULT_START_TO_CLOSE, StepCall
from mcp_agent.executor.temporal import limits
from mcp_agent.executor.temporal.children import PARENT_CLOSE, TemporalChild, signalled
from mcp_agent.executor.temporal.details import details
from mcp_agent.executor.temporal.endings import is_cancellation
from mcp_agent.executor.temporal.names import (
    BIND_EXTERN,
    CHANGED_EXTERN,
    LARGE_VALUES,
    METRICS_EXTERN,
    RUN_MEMO,
    STATE_MEMO,
    USAGE_NOW_AND_THEN,
    WORKFLOW_ATTRIBUTE,
)
from mcp_agent.executor.temporal.operations import Settling, settled
from mcp_agent.executor.temporal.placing import Placing
from mcp_agent.executor.workflow_signal import KeptMail
from mcp_agent.observability.metrics import RUNS_STARTED, Metrics

FIRST_VERSION = 1
UNMEASURED = Metrics()
USAGE_EVERY = timedelta(seconds=5)


# Temporal's own adds a table of ids to every line; which run has written it, is said once, before it.
_logger = workflow.LoggerAdapter(logging.getLogger("mcp_agent.workflow"), None)
_logger.workflow_info_on_message = False


class Carried(BaseModel):
    """What goes along when a run continues as new. Stored: add, never rename."""

    mail: KeptMail
    usage: RunUsage | None = None


class TemporalRuntime(runtime.WorkflowRuntime):
    """One object a run, made by the worker's interceptor.

    Args:
        policies: The configured retry policies of steps.
        placing: Where steps run, and which runs are done first.
        largest: The most bytes that one value may have.
    """

    def __init__(self, policies: RetryPolicies, placing: Placing, largest: int = PAYLOAD_LIMIT) -> None:
        super().__init__()
        self._largest = largest
        self._policies = policies
        self._placing = placing
        self.settling = Settling()
        self.lines = KeptLines()
        self._usage_told: datetime | None = None
        self._usage_untold = False
        self._under_way = asyncio.Semaphore(limits.STEPS_UNDER_WAY)

    @cached_property
    def info(self) -> runtime.RunInfo:  # pyright: ignore[reportIncompatibleMethodOverride] - not known before the run begins
        own = workflow.info()
        return runtime.RunInfo(own.workflow_id, own.workflow_type, own.run_id, own.task_queue)

    @cached_property
    def logger(self) -> KeepingLogger:  # pyright: ignore[reportIncompatibleMethodOverride] - one object a run
        return KeepingLogger(_logger, self._keep_line)

    def _keep_line(self, level: str, text: str) -> None:
        if not workflow.unsafe.is_read_only():  # a query is not repeated on replay
            self.lines.add(self.now(), level, text)

    def now(self) -> datetime:
        return workflow.now()

    def random(self) -> random.Random:
        return workflow.random()

    def uuid4(self) -> uuid.UUID:
        return workflow.uuid4()

    def is_replaying(self) -> bool:
        return workflow.unsafe.is_replaying()

    async def sleep(self, duration: timedelta) -> None:
        self._check_history()
        await workflow.sleep(duration)

    async def wait_condition(self, condition: Callable[[], bool], timeout: timedelta | None = None) -> None:
        errors: list[Exception] = []

        def checked() -> bool:
            try:
                return condition()
            except Exception as error:  # raised in the run, and not at Temporal, which would try it again for ever
                errors.append(error)
                return True

        await workflow.wait_condition(checked, timeout=timeout)
        if errors:
            raise errors[0]

    def all_handlers_finished(self) -> bool:
        return workflow.all_handlers_finished()

    def tell_usage(self) -> None:
        """Publishes it now and then only: each time is an event of the run's history."""
        told = self._usage_told
        if told is not None and self.now() - told < USAGE_EVERY and workflow.patched(USAGE_NOW_AND_THEN):
            self._usage_untold = True
        else:
            self.publish()

    def tell_rest(self) -> None:
        """Publishes at the end what `tell_usage` has not."""
        if self._usage_untold:
            self.publish()

    def publish(self, *, failed: bool = False) -> None:
        self._usage_told, self._usage_untold = self.now(), False
        state = self.public_state(failed=failed)
        workflow.upsert_memo({STATE_MEMO: state.model_dump(mode="json", by_alias=True, exclude_defaults=True)})
        workflow.set_current_details(details(state.pending_inputs))
        if not self.is_replaying():
            workflow.extern_functions()[CHANGED_EXTERN](self.info.run_id)

    def get_version(self, change_id: str, minimum: int, maximum: int) -> int:
        """One marker a version: a run that has passed here has that of the newest version there was."""
        for version in range(maximum, minimum - 1, -1):
            if workflow.patched(f"{change_id}-{version}"):
                return version
        if minimum > FIRST_VERSION:
            raise VersionRemoved(
                f"this run took a version of `{change_id}` that is older than {minimum}, and its code is gone: "
                f"put it back, and use `get_version({change_id!r}, {FIRST_VERSION}, {maximum})`, until such runs have ended"
            )
        return minimum

    def should_continue_as_new(self) -> bool:
        return workflow.info().is_continue_as_new_suggested()

    def stored(self, value: Any, what: str) -> bytes:
        """The JSON of a value that becomes a part of the run's history. Raises as `encode`."""
        data = encode(value, what, self._largest)
        if self._was_refused(len(data)):
            raise too_large(what, len(data), PAYLOAD_LIMIT)
        return data

    def _check_size(self, args: Sequence[Any]) -> None:
        if self._was_refused(check_size(args, self._largest)):
            check_size(args)

    def _was_refused(self, size: int) -> bool:
        """Whether the run went this way before there was external storage, and was told then that a value is too large."""
        return size > PAYLOAD_LIMIT and not workflow.patched(LARGE_VALUES)

    def _check_history(self) -> None:
        """Raises WorkflowApplicationError, type `HistoryTooLong`, before Temporal ends the run without giving it a say."""
        info = workflow.info()
        events, size = info.get_current_history_length(), info.get_current_history_size()
        if events > limits.MOST_EVENTS or size > limits.MOST_BYTES:
            raise WorkflowApplicationError(
                f"The history of this run has {events:,} events and {size:,} bytes, and can hold no more steps: call "
                "`workflow.continue_as_new` when `workflow.should_continue_as_new()` says so.",
                type="HistoryTooLong",
                non_retryable=True,
            )

    async def start_child(self, name: str, args: Sequence[Any], options: ChildOptions, result_type: Any) -> TemporalChild:
        self._check_size(args)
        self._check_history()
        priority = options.priority
        if options.task_queue is None:  # on another queue another app may serve a workflow that this one does not know
            priority = priority or self._placing.priorities.of(name)
            bind = cast("Callable[[str, list[bytes]], list[bytes]]", workflow.extern_functions()[BIND_EXTERN])
            args = [decode(arg, None) for arg in bind(name, [json_of(arg) for arg in args])]
        child_id = options.id or self.child_id(name)
        starting = asyncio.create_task(
            workflow.start_child_workflow(
                name,
                args=list(args),
                id=child_id,
                result_type=result_type,
                parent_close_policy=PARENT_CLOSE[options.parent_close_policy],
                task_queue=options.task_queue,
                priority=Priority(priority_key=priority),
                execution_timeout=options.execution_timeout,
                run_timeout=options.run_timeout,
                task_timeout=options.task_timeout or limits.TASK_TIMEOUT,
                search_attributes=_child_attributes(name),
                memo={**options.memo, RUN_MEMO: {"input_digest": input_digest(args), "parent": self.info.run_id}},
            )
        )
        try:
            return TemporalChild(await settled(starting, settling=self.settling), self.settling)
        except WorkflowAlreadyStartedError:
            raise IdempotencyConflict(f"Run `{child_id}` exists: choose another `id`.") from None
        except asyncio.CancelledError:
            if not starting.cancelled() and starting.exception() is None:
                await TemporalChild(starting.result(), self.settling).ended()
            raise

    async def signal_run(self, run_id: str, name: str, args: Sequence[Any]) -> None:
        await signalled(workflow.get_external_workflow_handle(run_id).signal(name, args=list(args)), run_id)

    @property
    def metrics(self) -> Metrics:
        return UNMEASURED if self.is_replaying() else self._worker_s_metrics

    @cached_property
    def _worker_s_metrics(self) -> Metrics:
        return cast("Metrics", workflow.extern_functions()[METRICS_EXTERN])

    def record_metric(self, name: str, value: float, attributes: Mapping[str, str | int | float | bool]) -> None:
        if self._worker_s_metrics.on:
            super().record_metric(name, value, attributes)
        else:  # a program may have given Temporal's SDK an endpoint of its own
            workflow.metric_meter().create_histogram_float(name).record(value, dict(attributes))

    def measure_start(self) -> None:
        """The run begins; one that another has continued as has begun before."""
        if workflow.info().continued_run_id is None:
            self.metrics.add(RUNS_STARTED, workflow=self.info.workflow)

    def measure_failure(self, error: BaseException) -> None:
        """The run ends with an error: not where Temporal tries its task again, nor where the worker only forgets it."""
        if self.is_cancellation(error) or isinstance(error, asyncio.CancelledError):
            if workflow.cancellation_reason() is not None:
                self.measure_end("cancelled", self.age)
        elif isinstance(error, FailureError):
            self.measure_end("failed", self.age)

    @property
    def age(self) -> timedelta:
        return self.now() - workflow.info().start_time

    def is_cancellation(self, error: BaseException) -> bool:
        return is_cancellation(error)

    async def continue_as_new(self, args: Sequence[Any]) -> None:
        """Ends this run of the chain, as soon as its handlers are done, and hands its mail and usage to the next."""
        self._check_size(args)
        await workflow.wait_condition(workflow.all_handlers_finished)
        self.progress = None
        self.mailbox.withdraw(self.now())
        self.publish()
        workflow.continue_as_new(args=list(args), initial_versioning_behavior=_goes_over())

    def hand_over(self) -> Payload:
        """What the run that continues this one takes over."""
        return workflow.payload_converter().to_payload(Carried(mail=self.mailbox.kept(), usage=self.usage))

    def take_over(self, payload: Payload | None) -> None:
        """Takes over what the run before has handed over."""
        if payload is not None:
            carried: Carried = workflow.payload_converter().from_payload(payload, Carried)
            self.mailbox.restore(carried.mail)
            self.usage = carried.usage
            self.spending.used = carried.usage or CallUsage()

    async def run_step(self, call: StepCall) -> Any:
        self._check_history()
        for arg in call.args:
            self.stored(arg, f"An argument of step `{call.name}`")
        try:
            async with self._under_way:
                return await _execute(call, self._config(call), self.settling)
        except ActivityError as error:
            raise _as_step_failure(call, error) from None

    def _config(self, call: StepCall) -> dict[str, Any]:
        options = call.options
        policy = self._policies.of(call.name, options.retry_policy)
        both: dict[str, Any] = {
            "start_to_close_timeout": options.start_to_close_timeout or DEFAULT_START_TO_CLOSE,
            "schedule_to_close_timeout": options.schedule_to_close_timeout,
            "retry_policy": temporal_policy(policy),
            "cancellation_type": workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            "summary": options.summary,
        }
        if options.local:
            return both
        return {
            **both,
            "task_queue": self._placing.queues.of_step(call.name, options, workflow.info().task_queue),
            "schedule_to_start_timeout": options.schedule_to_start_timeout,
            "heartbeat_timeout": options.heartbeat_timeout or DEFAULT_HEARTBEAT,
            "priority": Priority(priority_key=options.priority),
        }


def _child_attributes(name: str) -> TypedSearchAttributes | None:
    """A child is searched by its name where its parent is."""
    key = SearchAttributeKey.for_keyword(WORKFLOW_ATTRIBUTE)
    if key not in workflow.info().typed_search_attributes:
        return None
    return TypedSearchAttributes([SearchAttributePair(key, name)])


def temporal_policy(policy: RetryPolicyLike) -> RetryPolicy:
    """The same policy as Temporal's class."""
    return RetryPolicy(**{field.name: getattr(policy, field.name) for field in dataclasses.fields(RetryPolicy)})


async def _execute(call: StepCall, config: dict[str, Any], settling: Settling) -> Any:
    start: Any = workflow.start_local_activity if call.options.local else workflow.start_activity
    handle = start(call.name, args=list(call.args), result_type=RawValue, **config)
    result: RawValue | None = await settled(handle, handle.cancel, settling)
    if result is None:
        return None
    # Read here and not by temporalio, which would try a result that does not fit its type again for ever.
    with reading(f"The result of step `{call.name}`"):
        return workflow.payload_converter().from_payload(result.payload, call.result_type)


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


def _goes_over() -> workflow.ContinueAsNewVersioningBehavior | None:
    """A pinned run stays on its version until it ends or continues: one that does so for ever would keep its workers for ever."""
    versioned = workflow.info().get_current_deployment_version() is not None
    return workflow.ContinueAsNewVersioningBehavior.AUTO_UPGRADE if versioned else None
