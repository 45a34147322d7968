"""Agents outside of runs: in steps, in `@app.tool` functions and in scripts. Their calls are made at once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mcp_agent.activities.builtin import BuiltinTasks
from mcp_agent.config import Settings
from mcp_agent.executor.agent_host import AgentHost, direct_host
from mcp_agent.executor.asyncio.steps import StepJournal, StepRunner
from mcp_agent.executor.caller_tokens import CallerTokens
from mcp_agent.executor.payloads import largest_value
from mcp_agent.executor.runtime import RunInfo
from mcp_agent.executor.scoped import Scoped
from mcp_agent.executor.step_context import current_step
from mcp_agent.executor.steps import StepCall
from mcp_agent.executor.workflow_task import TaskDefinition
from mcp_agent.observability.telemetry import Telemetry


class DirectHost(AgentHost):
    """Runs the framework's steps in this task, with retries. Its downstream connections are its own, opened on first use.

    Args:
        settings: Servers, models and retry policies.
        shared: A worker's steps: those that call models are used from there, those that talk to servers are not.
        tokens: Of the owners of runs.
        telemetry: What its calls are measured and traced with.
    """

    def __init__(
        self, settings: Settings, shared: Mapping[str, TaskDefinition], tokens: CallerTokens, telemetry: Telemetry
    ) -> None:
        super().__init__()
        self._settings = settings
        self._shared = shared
        self._tokens = tokens
        self._telemetry = telemetry
        self._journal = StepJournal()
        self._builtin: BuiltinTasks | None = None
        self._scope = Scoped(direct_host, self)

    async def run_step(self, call: StepCall) -> Any:
        if self._builtin is None:
            self._builtin = BuiltinTasks(self._settings, self._tokens, self._telemetry)
        tasks = {**self._builtin.models, **self._builtin.functions, **self._shared, **self._builtin.downstream}
        largest = largest_value(self._settings.temporal.external_storage)
        runner = StepRunner(tasks, self._settings.retry_policies(), largest=largest, telemetry=self._telemetry)
        step = current_step()
        run_id = step.run_id if step is not None else ""
        info = RunInfo(run_id, step.workflow if step is not None else "", run_id)
        return await runner.run(call, self._journal, info, lambda: None)

    def now(self) -> datetime:
        return datetime.now(UTC)

    def publish(self, *, failed: bool = False) -> None:
        """Nobody watches."""

    async def __aenter__(self) -> None:
        """In the block agents that are used outside of a run make their calls through this; to be entered once."""
        self._scope.__enter__()

    async def __aexit__(self, *error: Any) -> None:
        """Closes what they have opened."""
        try:
            self._scope.__exit__(*error)
        finally:
            if self._builtin is not None:
                await self._builtin.aclose()
