"""This project's server over HTTP with an engine that answers at once: `python -m benchmarks.stubbed PORT WORKFLOWS [TOKEN]`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from mcp_agent.app import MCPApp
from mcp_agent.cli.serving import over_http
from mcp_agent.config import Settings
from mcp_agent.executor.asyncio.executor import InProcessExecutor
from mcp_agent.executor.executor import Executor
from mcp_agent.executor.runs import Progress, RunState, StepState
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.workflow import signal

STEPS = (StepState(name="mcp_agent.llm.generate", attempt=2, last_error="429"),)
PROGRESS = Progress(done=3, total=10, message="reading")


class Work(Workflow[dict[str, str]]):
    """Researches a topic in as many sources as asked, and gives a summary of each."""

    async def run(self, topic: str, sources: int = 3, language: str | None = None) -> WorkflowResult[dict[str, str]]:
        return WorkflowResult(value={})

    async def focus(self, on: str) -> None: ...


class Ready(InProcessExecutor):
    """Every run that it is asked for is under way."""

    async def describe_run(self, run_id: str) -> RunState:
        return RunState(
            run_id=run_id,
            workflow=run_id.split(".")[-2],
            status="running",
            started_at=datetime(2026, 11, 1, tzinfo=UTC),
            updated_at=datetime.now(UTC),
            steps=STEPS,
            progress=PROGRESS,
        )


class Stubbed(MCPApp):
    @asynccontextmanager
    async def open_executor(self, *, worker: bool | Collection[str] = False) -> AsyncGenerator[Executor, None]:
        yield Ready(self, self.tasks)


def make(workflows: int, token: str | None) -> MCPApp:
    app = Stubbed("bench")
    for number in range(workflows):
        parts: dict[str, Any] = {"__doc__": Work.__doc__, "run": app.workflow_run(Work.run), "focus": signal(Work.focus)}
        app.workflow(type(f"Work{number}", (Workflow,), parts))
    auth = None if token is None else {"tokens": [{"token": token, "subject": "bench"}], "scopes": "off"}
    app.use(Settings(server={"auth": auth, "max_workflow_tools": workflows}, logger={"transports": ["none"]}))
    return app


if __name__ == "__main__":
    asyncio.run(over_http(make(int(sys.argv[2]), (sys.argv[3:] or [None])[0]), "127.0.0.1", int(sys.argv[1])))
