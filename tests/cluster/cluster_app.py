"""The app of the tests on a cluster: its steps note in a file that they were done."""

import asyncio
import os
from datetime import timedelta
from pathlib import Path

from mcp_agent import workflow
from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.executor.workflow_signal import Signal

app = MCPApp(name="cluster")

NOTES = "CLUSTER_NOTES"
AT_MOST = timedelta(minutes=2)


@app.workflow_task(schedule_to_close_timeout=AT_MOST)
async def note(run: str, number: int) -> int:
    await asyncio.sleep(0.2)
    if NOTES in os.environ:
        with Path(os.environ[NOTES]).open("a") as notes:
            notes.write(f"{run} {number}\n")
    return number


@app.workflow
class Greets(Workflow[str]):
    @app.workflow_run
    async def run(self, name: str) -> WorkflowResult[str]:
        await note(workflow.info().run_id, 0)
        return WorkflowResult(value=f"hello {name}")


@app.workflow
class Counts(Workflow[int]):
    """Steps one after the other, with timers between."""

    @app.workflow_run
    async def run(self, steps: int) -> WorkflowResult[int]:
        done = 0
        for number in range(steps):
            await note(workflow.info().run_id, number)
            await workflow.sleep(1)
            done += 1
        return WorkflowResult(value=done)


@app.workflow
class Asks(Workflow[str]):
    """Waits for a person."""

    @app.workflow_run
    async def run(self, name: str) -> WorkflowResult[str]:
        await note(workflow.info().run_id, 0)
        asked = Signal("resume", message=f"Go on with {name}?", payload_type=str)
        answer = await app.context.executor.signal_bus.wait_for_signal(asked)
        return WorkflowResult(value=f"{name}: {answer}")
