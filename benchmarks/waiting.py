"""Runs of production: steps that wait, as those do that call models, steps that carry text, and runs that wait for a person."""

import asyncio

from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.executor.workflow_signal import Signal

app = MCPApp(name="waiting")
WAIT = 2.0


@app.workflow_task(name="waiting.step")
async def wait(number: int) -> int:
    await asyncio.sleep(WAIT)
    return number


@app.workflow_task(name="waiting.text")
async def repeat(text: str) -> str:
    return text


@app.workflow
class Wait(Workflow[int]):
    """Steps that wait, one after the other."""

    @app.workflow_run
    async def run(self, steps: int) -> WorkflowResult[int]:
        for number in range(steps):
            await wait(number)
        return WorkflowResult(value=steps)


@app.workflow
class Carry(Workflow[int]):
    """Steps that get a text and give it back, one after the other."""

    @app.workflow_run
    async def run(self, text: str, steps: int) -> WorkflowResult[int]:
        for _ in range(steps):
            text = await repeat(text)
        return WorkflowResult(value=len(text))


@app.workflow
class Open(Workflow[None]):
    """Waits for a person."""

    @app.workflow_run
    async def run(self) -> WorkflowResult[None]:
        await app.context.executor.signal_bus.wait_for_signal(Signal("go"))
        return WorkflowResult(value=None)
