"""What this package puts around the workflows and activities of a worker."""

from __future__ import annotations

import asyncio
import inspect
import typing
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, NoReturn, cast

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError, FailureError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ContinueAsNewInput,
    ExecuteActivityInput,
    ExecuteWorkflowInput,
    HandleQueryInput,
    HandleSignalInput,
    HandleUpdateInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)
from temporalio.worker.workflow_sandbox import RestrictedWorkflowAccessError

from mcp_agent.errors import CallError, WorkflowApplicationError
from mcp_agent.executor import runtime, step_context
from mcp_agent.executor.continuing import ContinueAsNew, VersionRemoved
from mcp_agent.executor.definition import bind_positional
from mcp_agent.executor.failures import contained, error_text, failure_message, failure_type
from mcp_agent.executor.handlers import Handler, HandlerKind, handlers_of, positional_types
from mcp_agent.executor.lines import Line
from mcp_agent.executor.payloads import PAYLOAD_LIMIT, encode, round_trip
from mcp_agent.executor.retry import RetryPolicies
from mcp_agent.executor.runs import Answer, Receipt
from mcp_agent.executor.temporal.encryption import sealed_text
from mcp_agent.executor.temporal.history import RunHistory
from mcp_agent.executor.temporal.names import (
    ANSWER_UPDATE,
    BIND_EXTERN,
    CARRIED_HEADER,
    CHANGED_EXTERN,
    CHECK_EXTERN,
    LOG_QUERY,
    METRICS_EXTERN,
    REFUSAL_SIGNAL,
    SEAL_EXTERN,
)
from mcp_agent.executor.temporal.placing import Placing
from mcp_agent.executor.temporal.runtime import TemporalRuntime
from mcp_agent.observability.telemetry import Telemetry, attempt_outcome


class AgentInterceptor(Interceptor):
    """For every worker of an app.

    Args:
        client: Reads a run's own history for steps that need it; `None` where no step is run.
        policies: The configured retry policies of steps.
        placing: Where steps run, and which runs are done first.
        changed: Told the id of a run in this process whose public state changes; called from any thread.
        around: What each step is run in.
        check_result: Told a workflow's name and the JSON of its result; raises for one of another type than it declares.
        bind_child: Told a workflow's name and the JSON of arguments for it; gives them with defaults, or raises.
        largest: The most bytes that one value may have.
        telemetry: What runs and steps are measured with.
    """

    def __init__(
        self,
        client: Client | None,
        policies: RetryPolicies,
        placing: Placing,
        changed: Callable[[str], None],
        around: Callable[[], AbstractAsyncContextManager[None]],
        check_result: Callable[[str, bytes], None],
        bind_child: Callable[[str, Sequence[bytes]], list[bytes]],
        largest: int = PAYLOAD_LIMIT,
        telemetry: Telemetry | None = None,
    ) -> None:
        self._largest = largest
        self._telemetry = telemetry or Telemetry()
        self._bind_child = bind_child
        self._client = client
        self._check_result = check_result
        self._changed = changed
        self._around = around
        own = {"policies": policies, "placing": placing, "largest": largest}
        self._run_interceptor = type("RunInterceptor", (RunInterceptor,), own)

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        assert self._client is not None
        return StepInterceptor(next, self._client, self._around, self._largest, self._telemetry)

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:
        input.unsafe_extern_functions[CHANGED_EXTERN] = self._changed  # pyright: ignore[reportArgumentType]
        input.unsafe_extern_functions[BIND_EXTERN] = self._bind_child  # pyright: ignore[reportArgumentType]
        input.unsafe_extern_functions[CHECK_EXTERN] = self._check_result  # pyright: ignore[reportArgumentType]
        input.unsafe_extern_functions[METRICS_EXTERN] = self._telemetry.metrics  # pyright: ignore[reportArgumentType]
        input.unsafe_extern_functions[SEAL_EXTERN] = self._seal  # pyright: ignore[reportArgumentType]
        return self._run_interceptor

    def _seal(self, text: str) -> str:
        return text if self._client is None else sealed_text(self._client.data_converter, text)


def _with_types(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Makes its annotations types: Temporal looks them up whenever the handler is set, which is for each run."""
    handler.__annotations__ = typing.get_type_hints(handler)
    return handler


class RunInterceptor(WorkflowInboundInterceptor):
    """One a run: holds its runtime, takes answers and undeclared signals, and turns errors into failures."""

    policies = RetryPolicies()
    placing = Placing()
    largest = PAYLOAD_LIMIT
    _handlers: dict[tuple[HandlerKind, str | None], Handler] | None = None

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        self._runtime = TemporalRuntime(self.policies, self.placing, self.largest)
        super().init(CarryingOutbound(outbound, self._runtime))
        workflow.set_update_handler(ANSWER_UPDATE, self._answer, validator=self._check_answer)
        workflow.set_signal_handler(REFUSAL_SIGNAL, self._note_refusal)
        workflow.set_query_handler(LOG_QUERY, self._lines)
        if workflow.get_dynamic_signal_handler() is None:
            workflow.set_dynamic_signal_handler(self._keep_signal)

    @_with_types
    async def _answer(self, answer: Answer) -> Receipt:
        return self._runtime.mailbox.accept(answer)

    def _check_answer(self, answer: Answer) -> None:
        try:
            self._runtime.mailbox.plan(answer)
        except CallError as error:
            raise ApplicationError(str(error), type=error.code, non_retryable=True) from None

    @_with_types
    async def _note_refusal(self, request_id: str, problem: str) -> None:
        self._runtime.mailbox.note_refusal(request_id, problem)
        self._runtime.publish()

    @_with_types
    def _lines(self) -> list[Line]:
        return self._runtime.lines.all

    @_with_types
    async def _keep_signal(self, name: str, args: Sequence[RawValue]) -> None:
        convert = workflow.payload_converter().from_payload
        self._runtime.mailbox.deliver(name, convert(args[0].payload) if args else None)

    def _given(self, kind: HandlerKind, name: str, args: Sequence[Any]) -> Sequence[Any]:
        """Arguments as the handler wants them; those of a dynamic handler, or of none, are as they came."""
        if not args:
            return args
        if self._handlers is None:
            workflow_class: type = workflow.instance().__class__
            self._handlers = {(handler.kind, handler.name): handler for handler in handlers_of(workflow_class)}
        handler = self._handlers.get((kind, name))
        return args if handler is None else _typed(handler.types, args, f"An argument of {kind} `{name}`")

    def _enter(self) -> None:
        runtime.put_on_loop(asyncio.get_running_loop(), self._runtime)

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        self._enter()
        self._runtime.take_over(input.headers.get(CARRIED_HEADER))
        self._runtime.measure_start()
        try:
            with _failing_by_name():
                await asyncio.sleep(0)  # a run that was cancelled before it began does not begin
                if len(input.args) < len(inspect.signature(input.run_fn).parameters) - 1:  # a client of somebody else's
                    input.args = _typed(positional_types(input.run_fn), input.args, "An argument of `run`")
                try:
                    result = self._runtime.concluded(await super().execute_workflow(input))
                finally:
                    await self._runtime.settling.wait()
                name = self._runtime.info.workflow
                # Types are looked up outside of the sandbox, once for all runs.
                workflow.extern_functions()[CHECK_EXTERN](name, self._runtime.stored(result, f"The result of `{name}`"))
        except ContinueAsNew as again:
            await self._continue(input, again)
            raise
        except (Exception, asyncio.CancelledError) as error:
            self._runtime.tell_rest()
            self._runtime.measure_failure(error)
            raise
        self._runtime.tell_rest()
        if result.error is not None:
            self._runtime.publish(failed=True)
        self._runtime.measure_end("completed" if result.error is None else "failed", self._runtime.age)
        return result

    async def _continue(self, input: ExecuteWorkflowInput, again: ContinueAsNew) -> None:
        try:
            args = bind_positional(input.run_fn, again.new_args)
            await self._runtime.continue_as_new(args)
        except CallError as error:  # the arguments do not fit, or are too large
            raise as_run_failure(error) from None

    async def handle_signal(self, input: HandleSignalInput) -> None:
        self._enter()
        try:
            input.args = self._given("signal", input.signal, input.args)
        except WorkflowApplicationError as error:
            workflow.logger.warning("a signal was dropped: %s", error)
            return
        with _failing_by_name():
            await super().handle_signal(input)

    async def handle_query(self, input: HandleQueryInput) -> Any:
        self._enter()
        try:
            with contained():
                input.args = self._given("query", input.query, input.args)
                result = await super().handle_query(input)
            if not input.query.startswith("__"):  # Temporal's own, such as that of the handlers' names
                encode(result, f"The answer of query `{input.query}`", self.largest)
        except Exception as error:
            text = error.message if isinstance(error, FailureError) else error_text(error)
            seal = cast("Callable[[str], str]", workflow.extern_functions()[SEAL_EXTERN])
            sealed = seal(text)
            if sealed == text:  # nothing is encrypted
                raise
            raise ApplicationError(sealed, type=failure_type(error)) from None
        return result

    def handle_update_validator(self, input: HandleUpdateInput) -> None:
        self._enter()
        with _failing_by_name():
            input.args = self._given("update", input.update, input.args)
            super().handle_update_validator(input)

    async def handle_update_handler(self, input: HandleUpdateInput) -> Any:
        self._enter()
        with _failing_by_name():
            input.args = self._given("update", input.update, input.args)
            result = await super().handle_update_handler(input)
            self._runtime.stored(result, f"The answer of update `{input.update}`")
        return result


class CarryingOutbound(WorkflowOutboundInterceptor):
    """Hands a run's mail and usage to the run that continues it."""

    def __init__(self, next: WorkflowOutboundInterceptor, run: TemporalRuntime) -> None:
        super().__init__(next)
        self._run = run

    def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:
        input.headers = {**input.headers, CARRIED_HEADER: self._run.hand_over()}
        super().continue_as_new(input)


class StepInterceptor(ActivityInboundInterceptor):
    """Gives a step its context, tells Temporal that it is alive, and turns its errors into failures."""

    def __init__(
        self,
        next: ActivityInboundInterceptor,
        client: Client,
        around: Callable[[], AbstractAsyncContextManager[None]],
        largest: int,
        telemetry: Telemetry,
    ) -> None:
        super().__init__(next)
        self._largest = largest
        self._client = client
        self._around = around
        self._telemetry = telemetry

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        info = activity.info()
        pulse = Pulse(tuple(info.heartbeat_details))
        context = step_context.StepContext(
            step=info.activity_type,
            run_id=info.workflow_id or "",
            workflow=info.workflow_type or "",
            attempt=info.attempt,
            heartbeat=pulse.beat,
            heartbeat_details=pulse.details,
            history=RunHistory(self._client, info.workflow_id or "", info.workflow_run_id),
            engine_run_id=info.workflow_run_id or "",
        )
        try:
            measured = self._telemetry.attempt(context.workflow, context.step, _attempt_outcome)
            with step_context.entered(context), measured:
                async with self._around(), _alive(info, pulse, in_thread=not inspect.iscoroutinefunction(input.fn)):
                    with contained():
                        result = await super().execute_activity(input)
            encode(result, f"The result of step `{info.activity_type}`", self._largest)
        except FailureError:
            raise
        except Exception as error:
            raise as_application_error(error) from None
        return result


def _attempt_outcome(error: BaseException) -> str:
    details = activity.cancellation_details()
    if isinstance(error, asyncio.CancelledError) and details is not None and details.timed_out:
        return "timed_out"
    return attempt_outcome(error)


class Pulse:
    """What a step told last: told again with each of the heartbeats that are sent by themselves."""

    def __init__(self, details: tuple[Any, ...]) -> None:
        self.details = details

    def beat(self, *details: Any) -> None:
        self.details = details
        activity.heartbeat(*details)


@asynccontextmanager
async def _alive(info: activity.Info, pulse: Pulse, *, in_thread: bool) -> AsyncGenerator[None, None]:
    """Heartbeats while the step runs, so that a dead worker is noticed and a cancel arrives soon.

    None at once: each is a request to Temporal and a write in its database, and most steps are done before they need one.
    """
    if not info.heartbeat_timeout:
        yield
        return
    interval = min(info.heartbeat_timeout.total_seconds() / 4, 1.0)

    async def beat() -> None:
        while True:
            await asyncio.sleep(interval)
            if in_thread:  # there Temporal's call waits for this loop: made from here it would block it for ten seconds
                await asyncio.to_thread(activity.heartbeat, *pulse.details)
            else:
                activity.heartbeat(*pulse.details)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()


_INSTEAD = (
    "Workflow code is executed again from its record. Instead of clocks, randomness and ids use `workflow.now()`, "
    "`workflow.random()`, `workflow.uuid4()` and `workflow.sleep()`; files, the environment, threads and the network belong in a "
    "step (`@app.workflow_task`)"
)


def _typed(types: Sequence[Any], args: Sequence[Any], what: str) -> Sequence[Any]:
    """Arguments by their types, where some that have defaults were left out: temporalio reads none of them then."""
    if not args or len(args) >= len(types):
        return args
    return [round_trip(arg, type_, what) for arg, type_ in zip(args, types, strict=False)]


@contextmanager
def _failing_by_name() -> Generator[None, None, None]:
    """What workflow code raises becomes the failure of the run; what code of another version raises makes Temporal try again."""
    try:
        with contained():
            yield
    except RestrictedWorkflowAccessError as error:
        raise ApplicationError(f"{failure_message(error)}. {_INSTEAD}", type="NotDeterministic", non_retryable=True) from None
    except (FailureError, workflow.NondeterminismError, workflow.ReadOnlyContextError):
        raise
    except VersionRemoved as gone:
        raise workflow.NondeterminismError(f"VersionRemoved: {gone}") from None
    except Exception as error:
        raise as_run_failure(error) from _cause(error)


CAUSES_KEPT = 20


def _cause(error: Exception) -> BaseException | None:
    """What it came from. Temporal stores a chain to its end: one that leads back, or goes on and on, is cut."""
    seen = {id(error)}
    link: BaseException = error
    while link.__cause__ is not None:
        if id(link.__cause__) in seen or len(seen) == CAUSES_KEPT:
            link.__cause__ = None
        else:
            link = link.__cause__
            seen.add(id(link))
    return error.__cause__


def as_run_failure(error: Exception) -> ApplicationError:
    """The failure of a run. A programming error will be there the next time too."""
    failure = as_application_error(error)
    if isinstance(error, WorkflowApplicationError):
        return failure
    return ApplicationError(failure.message, type=failure.type, non_retryable=True)


def as_application_error(error: Exception) -> ApplicationError:
    """The failure that Temporal stores: type, text and details; never another exception's text."""
    if isinstance(error, WorkflowApplicationError):
        return ApplicationError(
            failure_message(error),
            *error.details,
            type=error.type,
            non_retryable=error.non_retryable,
            next_retry_delay=error.next_retry_delay,
        )
    return ApplicationError(failure_message(error), type=failure_type(error))
