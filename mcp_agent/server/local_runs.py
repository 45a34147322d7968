"""Runs of function tools live in the server's process; all others in the engine. Callers see one executor."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from mcp_agent.executor.asyncio.executor import InProcessExecutor
from mcp_agent.executor.definition import WorkflowDefinition
from mcp_agent.executor.executor import EngineName, Executor, WorkflowHandle
from mcp_agent.executor.priority import ORDINARY, CallerPriority
from mcp_agent.executor.records import LogPage, TranscriptPage
from mcp_agent.executor.runs import Answer, Receipt, RunFilter, RunPage, RunState, StartedRun
from mcp_agent.observability.health import Health


class LocalFirst(Executor):
    """Args:
    engine: The configured engine.
    local: The in-process one for calls of `@app.tool` functions that outlived their callers.
    functions: The names of these functions.
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

    @property
    def kept(self) -> str:
        return self._engine.kept

    def _of(self, run_id: str) -> Executor:
        return self._local if self._local.knows(run_id) else self._engine

    async def start_workflow(self, workflow: Any, *args: Any, **options: Any) -> WorkflowHandle[Any]:
        return await self._engine.start_workflow(workflow, *args, **options)

    def get_handle(self, workflow_id: str, workflow: str | None = None) -> WorkflowHandle[Any]:
        return self._of(workflow_id).get_handle(workflow_id, workflow)

    async def start_run(
        self,
        definition: WorkflowDefinition,
        args: Sequence[Any],
        *,
        run_id: str,
        input_digest: str,
        priority: CallerPriority = ORDINARY,
    ) -> StartedRun:
        return await self._engine.start_run(definition, args, run_id=run_id, input_digest=input_digest, priority=priority)

    async def describe_run(self, run_id: str) -> RunState:
        return await self._of(run_id).describe_run(run_id)

    def watch_run(self, run_id: str, *, started: bool = False) -> AsyncGenerator[RunState, None]:
        return self._of(run_id).watch_run(run_id, started=started)

    async def answer_run(self, run_id: str, answer: Answer) -> Receipt:
        return await self._of(run_id).answer_run(run_id, answer)

    async def note_refusal(self, run_id: str, request_id: str, problem: str) -> None:
        await self._of(run_id).note_refusal(run_id, request_id, problem)

    async def signal_run(self, run_id: str, signal: str, args: Sequence[Any]) -> None:
        await self._of(run_id).signal_run(run_id, signal, args)

    async def cancel_run(self, run_id: str, reason: str | None = None) -> None:
        await self._of(run_id).cancel_run(run_id, reason)

    async def list_runs(self, which: RunFilter) -> RunPage:
        if which.workflows and set(which.workflows) <= self._functions:
            return await self._local.list_runs(which)
        return await self._engine.list_runs(which)

    async def run_log(self, run_id: str, cursor: str | None = None) -> LogPage:
        return await self._of(run_id).run_log(run_id, cursor)

    async def run_transcript(self, run_id: str, cursor: str | None = None) -> TranscriptPage:
        return await self._of(run_id).run_transcript(run_id, cursor)

    async def health(self) -> Health:
        return await self._engine.health()
