"""`app.context`: what code may reach, inside a run and outside one.

It is a stateless proxy: inside a run every call goes to the run that makes it, so that one object serves them all, also
in Temporal's sandbox, where the app is another object for each run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import EllipsisType
from typing import Any, TypeVar, overload

from mcp_agent import workflow
from mcp_agent.call_request import CallRequest, current_call
from mcp_agent.errors import MCPAgentError, NotInWorkflowError
from mcp_agent.executor.elicitation import Elicited, elicit
from mcp_agent.executor.executor import Executor, SignalBus
from mcp_agent.executor.runs import Progress
from mcp_agent.executor.runtime import current, current_or_none
from mcp_agent.observability.metrics import check_record

T = TypeVar("T")


class RunExecutor:
    """`app.context.executor` inside a run: what a run may do of it."""

    @property
    def signal_bus(self) -> SignalBus:
        return SignalBus(None)

    def __getattr__(self, name: str) -> Any:
        raise MCPAgentError(
            f"A run has no `executor.{name}`: it starts others with `workflow.start_child_workflow` and sends signals with "
            "`executor.signal_bus`; what else an executor does is for steps and programs."
        )


class Metrics:
    """`app.context.metrics`: where a run's own measurements go."""

    def record(self, name: str, value: float, attributes: Mapping[str, str | int | float | bool] | None = None) -> None:
        """Adds a value to a histogram of that name; not again on replay.

        Raises:
            NotInWorkflowError: Called outside a run.
            ValueError: A name, value or attribute that cannot be recorded.
        """
        run = current()
        check_record(name, value, attributes or {})
        run.record_metric(name, value, attributes or {})


class Context:
    """What `app.context` is.

    Args:
        executor: Gives the executor of the app that runs, or `None` when it does not run.
    """

    def __init__(self, executor: Callable[[], Executor | None]) -> None:
        self._executor = executor

    @property
    def executor(self) -> Any:
        """The engine outside a run; inside one, what a run may use of it (`signal_bus`).

        Raises:
            MCPAgentError: Neither inside a run nor inside `async with app.run()`.
        """
        if current_or_none() is not None:
            return RunExecutor()
        executor = self._executor()
        if executor is None:
            raise MCPAgentError("The app does not run: use `app.context.executor` inside `async with app.run()`.")
        return executor

    @property
    def run_id(self) -> str:
        """The public id of the run that asks. Raises NotInWorkflowError."""
        return current().info.run_id

    @property
    def workflow_name(self) -> str:
        """The name of the workflow that asks. Raises NotInWorkflowError."""
        return current().info.workflow

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """Logs to standard error; inside a run not again on replay, in a direct call also to its client."""
        return workflow.logger

    @property
    def metrics(self) -> Metrics:
        """Records measurements (specification, "Monitoring and Observability")."""
        return Metrics()

    def report_progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Says how far the run is, in units of its own: clients see it in its status; in a direct call its client is told.

        Raises:
            NotInWorkflowError: In neither.
        """
        progress = Progress(done=done, total=total, message=message)
        call = current_call()
        if call is not None:
            call.report_progress(progress)
            return
        runtime = current()
        runtime.progress = progress
        runtime.publish()

    @overload
    async def elicit(
        self,
        message: str,
        schema: type[T],
        *,
        name: str = "elicitation",
        timeout: float | timedelta | None = None,
        default: T | Mapping[str, Any] | EllipsisType = ...,
    ) -> Elicited[T]: ...
    @overload
    async def elicit(
        self,
        message: str,
        schema: Mapping[str, Any],
        *,
        name: str = "elicitation",
        timeout: float | timedelta | None = None,
        default: Mapping[str, Any] | EllipsisType = ...,
    ) -> Elicited[dict[str, Any]]: ...
    @overload
    async def elicit(
        self,
        message: str,
        schema: None = None,
        *,
        name: str = "elicitation",
        timeout: float | timedelta | None = None,
        default: str | EllipsisType = ...,
    ) -> Elicited[str]: ...
    @overload
    async def elicit(
        self, message: str, schema: None = None, *, url: str, name: str = "elicitation", timeout: float | timedelta | None = None
    ) -> Elicited[None]: ...
    @overload
    async def elicit(
        self,
        message: str,
        schema: Any,
        *,
        name: str = "elicitation",
        timeout: float | timedelta | None = None,
        default: Any = ...,
    ) -> Elicited[Any]: ...
    async def elicit(
        self,
        message: str,
        schema: Any = None,
        *,
        name: str = "elicitation",
        timeout: float | timedelta | None = None,
        default: Any = ...,
        url: str | None = None,
    ) -> Elicited[Any]:
        """Asks a person, and waits for the answer: durably, and together with whatever else the run asks.

        Args:
            message: What the person reads. It is stored with the run: no secrets.
            schema: What the answer is: a pydantic model or another type, or the JSON schema of an object with fields of
                simple types; text by default.
            name: Answers by name and request ids (`<name>#<number>`) have it.
            timeout: How long to wait: a timedelta, or seconds.
            default: What is taken for the answer when that time is over; the result says `expired`.
            url: An address to open instead of a form to fill in; `elicit_url` says more.

        Returns:
            With `action` `accept` the answer as `data`, in its type; `decline` and `cancel` have none.

        Raises:
            TimeoutError: Nobody has answered in time, and there is no default.
            InvalidArguments: The schema is no form, the default does not fit, or options do not go together.
            NotInWorkflowError: There is no run: steps and programs have nobody to ask.
        """
        _check_outlives_request()
        return await elicit(message, schema, name=name, timeout=timeout, default=default, url=url)

    async def elicit_url(
        self, message: str, url: str, *, name: str = "elicitation", timeout: float | timedelta | None = None
    ) -> Elicited[None]:
        """Asks a person to open an address, for what must not pass through clients and models: sign-ins, payments, keys.

        `accept` says that the person agrees to open it, not that they are done there: what happens there tells the run by a
        signal, or a step looks. The address is stored with the run, so it must not hold a secret that opens more than itself.

        Raises:
            TimeoutError, InvalidArguments, NotInWorkflowError: As `elicit`.
        """
        _check_outlives_request()
        return await elicit(message, None, name=name, timeout=timeout, default=..., url=url)

    @property
    def request(self) -> CallRequest:
        """The client's request that a function under `@app.tool`, `@app.prompt` or `@app.resource` answers.

        Raises:
            NotInWorkflowError: There is none: runs outlive requests.
        """
        call = current_call()
        if call is None:
            raise NotInWorkflowError(
                "`app.context.request` is there while a function under `@app.tool`, `@app.prompt` or `@app.resource` answers a "
                "client. Runs and steps outlive requests: they ask people with `app.context.elicit`."
            )
        return call.request


def _check_outlives_request() -> None:
    """Raises NotInWorkflowError in a function that answers a client, which cannot wait as long as a person takes."""
    if current_call() is not None:
        raise NotInWorkflowError(
            "A function that answers a client cannot wait for a person as runs do: make it `@app.tool(durable=True)`, or ask "
            "with `app.context.request`."
        )
