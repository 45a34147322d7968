"""`app.context`: what code may reach, inside a run and outside one.

It is a stateless proxy: inside a run every call goes to the run that makes it, so that one object serves them all, also
in Temporal's sandbox, where the app is another object for each run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from mcp_agent import workflow
from mcp_agent.errors import MCPAgentError
from mcp_agent.executor.executor import Executor, SignalBus
from mcp_agent.executor.runs import Progress
from mcp_agent.executor.runtime import current, current_or_none


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
        """Adds a value to a histogram of that name; not again on replay. Raises NotInWorkflowError."""
        current().record_metric(name, value, attributes or {})


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
        """Logs to standard error; inside a run not again on replay."""
        return workflow.logger

    @property
    def metrics(self) -> Metrics:
        """Records measurements (specification, "Monitoring and Observability")."""
        return Metrics()

    def report_progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Says how far the run is, in units of its own; clients see it in the run's status. Raises NotInWorkflowError."""
        runtime = current()
        runtime.progress = Progress(done=done, total=total, message=message)
        runtime.publish()
