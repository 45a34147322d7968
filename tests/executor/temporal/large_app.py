"""An app whose runs have large values."""

from typing import Any

from mcp_agent import workflow
from mcp_agent.app import MCPApp
from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.executor.step_context import current_step
from mcp_agent.executor.workflow import Workflow
from mcp_agent.executor.workflow_signal import Signal

app = MCPApp("large")


@app.workflow_task(name="large.grow")
async def grow(text: str, times: int) -> str:
    return text * times


@app.workflow_task(name="large.recall")
async def recall() -> list[int]:
    """How large the arguments of `large.measure` are in the run's history."""
    step = current_step()
    assert step is not None
    assert step.history is not None
    return [len(text) async for text in step.history.arguments("large.measure")]


@app.workflow_task(name="large.measure")
async def measure(text: str) -> int:
    return len(text)


@app.workflow
class Library(Workflow[Any]):
    """Large in every place: an argument, a step's result and argument, a signal, a result."""

    @app.workflow_run
    async def run(self, text: str, times: int) -> Any:
        grown = await grow(text, times)
        size = await measure(grown)
        answer = await app.context.executor.signal_bus.wait_for_signal(Signal("go"))
        return [size, await recall(), grown, answer]


@app.workflow
class Refused(Workflow[str]):
    """Goes on after it was told that a value is too large."""

    @app.workflow_run
    async def run(self, times: int) -> str:
        try:
            await measure("x" * times)
        except WorkflowApplicationError as error:
            await workflow.sleep(0.01)
            return f"{error.type}"
        return "measured"
