"""Runs of function tools live in the server's process; all others in the engine. Callers see one executor."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any

from mcp_agent.executor.asyncio.executor import InProcessExecutor
from mcp_agent.executor.definition import WorkflowDefinition
from mcp_agent.executor.executor import EngineName, Executor, WorkflowHandle
from mcp_agent.executor.runs import Answer, Receipt, RunFilter, RunPage, RunState, StartedRun


class LocalFirst(Executor):
    """Args:
    engine: The configured engine.
    local: The in-process one for calls of `@app.tool` functions that outlived their callers.
    functions: The names of these functions; their run ids begin with them.
    """

    def __init__(self, engine: Executor, local: InProcessExecutor, functions: set[str]) -> None:
        self._engine = engine
        self._local = local
        self._functions = functions

    @staticmethod
    @asynccontextmanager
    async def wrap(
        engine: AbstractAsyncContextManager[Executor], local: InProcessExecutor, functions: set[str]
    ) -> AsyncGenerator[Executor, None]:
        """The opened engine, with the local runs before it where there are any."""
        async with engine as opened:
            yield LocalFirst(opened, local, functions) if functions else opened

    @property
    def engine(self) -> EngineName:
        return self._engine.engine

    def _of(self, run_id: str) -> Executor:
        return self._local if run_id.rpartition(".")[0] in self._functions else self._engine

    async def start_workflow(self, workflow: Any, *args: Any, **options: Any) -> WorkflowHandle[Any]:
        return await self._engine.start_workflow(workflow, *args, **options)

    def get_handle(self, workflow_id: str, workflow: str | None = None) -> WorkflowHandle[Any]:
        return self._of(workflow_id).get_handle(workflow_id, workflow)

    async def start_run(
        self, definition: WorkflowDefinition, args: Sequence[Any], *, run_id: str, input_digest: str
    ) -> StartedRun:
        return await self._engine.start_run(definition, args, run_id=run_id, input_digest=input_digest)

    async def describe_run(self, run_id: str) -> RunState:
        return await self._of(run_id).describe_run(run_id)

    async def wait_run(self, run_id: str, timeout: timedelta) -> RunState:
        return await self._of(run_id).wait_run(run_id, timeout)

    async def answer_run(self, run_id: str, answer: Answer) -> Receipt:
        return await self._of(run_id).answer_run(run_id, answer)

    async def signal_run(self, run_id: str, signal: str, args: Sequence[Any]) -> None:
        await self._of(run_id).signal_run(run_id, signal, args)

    async def cancel_run(self, run_id: str, reason: str | None = None) -> None:
        await self._of(run_id).cancel_run(run_id, reason)

    async def list_runs(self, which: RunFilter) -> RunPage:
        if which.workflows and set(which.workflows) <= self._functions:
            return await self._local.list_runs(which)
        return await self._engine.list_runs(which)

    def run_page(self, state: RunState) -> str | None:
        return self._of(state.run_id).run_page(state)
