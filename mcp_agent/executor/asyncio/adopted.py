"""A call that became a run while it was under way: a function under `@app.tool` that outlived its caller's wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

from mcp_agent.executor.asyncio.recording import Recording
from mcp_agent.executor.failures import run_failure, termination
from mcp_agent.executor.records import StepTold
from mcp_agent.executor.runs import Progress, RunFailure, RunState, RunStatus
from mcp_agent.executor.workflow import WorkflowResult, as_result


class AdoptedRun:
    """Reads its state off the task. It lives as long as the process.

    Args:
        workflow: The function's name.
        run_id: Its public id.
        task: The call.
        began_at: When it was called.
        progress: What the function has told of it last.
    """

    def __init__(
        self,
        workflow: str,
        run_id: str,
        task: asyncio.Task[Any],
        began_at: datetime,
        progress: Callable[[], Progress | None],
    ) -> None:
        self.workflow = workflow
        self._progress = progress
        self.run_id = run_id
        self.task = task
        self.input_digest = ""
        self._cancel_requested = False
        self._started, self._updated = began_at, datetime.now(UTC)
        self._terminated = False
        self._reason: str | None = None
        self.record = Recording()
        self.record.note("started", name=workflow)
        task.add_done_callback(self._note_end)

    def _note_end(self, _: asyncio.Task[Any]) -> None:
        self._updated = datetime.now(UTC)
        self.record.ended(self.state())

    @property
    def closed(self) -> bool:
        return self.task.done()

    def cancel(self) -> None:
        if not self.closed:
            self._cancel_requested = True
            self.task.cancel()

    def terminate(self, reason: str | None = None) -> None:
        self._terminated = True
        self._reason = reason
        self.cancel()

    async def change(self) -> None:
        await asyncio.wait([self.task])

    async def told(self, *steps: str) -> AsyncIterator[StepTold]:
        """None: its steps are not recorded."""
        for step in ():
            yield step

    def result(self) -> WorkflowResult[Any] | None:
        if not self.task.done() or self.task.cancelled() or self.task.exception() is not None:
            return None
        return as_result(self.task.result())

    def state(self) -> RunState:
        status, failure = self._outcome()
        result = self.result()
        return RunState(
            run_id=self.run_id,
            workflow=self.workflow,
            status=status,
            started_at=self._started,
            updated_at=self._updated,
            closed_at=self._updated if self.closed else None,
            cancel_requested=self._cancel_requested,
            result=None if result is None else result.value,
            error=failure,
            progress=self._progress(),
        )

    def _outcome(self) -> tuple[RunStatus, RunFailure | None]:
        if not self.task.done():
            return "running", None
        if self.task.cancelled():
            return ("terminated", termination(self._reason)) if self._terminated else ("cancelled", None)
        error = self.task.exception()
        if error is not None:
            return "failed", run_failure(error)
        return "completed", None
