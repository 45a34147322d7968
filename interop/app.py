"""The app that the clients talk to: a workflow for each thing that can become of a run."""

from __future__ import annotations

from pydantic import BaseModel

from mcp_agent import workflow
from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.executor.workflow_signal import Signal

app = MCPApp(name="interop", description="Greets, asks, waits and fails, for clients that are tried out.")


class Decision(BaseModel):
    approve: bool
    comment: str = ""


@app.workflow
class Greet(Workflow[str]):
    """Greets somebody."""

    @app.workflow_run
    async def run(self, name: str) -> WorkflowResult[str]:
        return WorkflowResult(value=f"hello {name}")


@app.workflow
class Approve(Workflow[str]):
    """Sends a text if a person agrees."""

    @app.workflow_run
    async def run(self, text: str) -> WorkflowResult[str]:
        asked = Signal("decision", payload_type=Decision, message=f"Send '{text}'?")
        decision = await app.context.executor.signal_bus.wait_for_signal(asked)
        return WorkflowResult(value=f"{'sent' if decision.approve else 'kept'}: {text} ({decision.comment})")


@app.workflow
class Long(Workflow[str]):
    """Goes on until it is told to finish."""

    def __init__(self) -> None:
        self.told = False

    @workflow.signal
    def finish(self) -> None:
        """Lets it end."""
        self.told = True

    @app.workflow_run
    async def run(self) -> WorkflowResult[str]:
        await workflow.wait_condition(lambda: self.told)
        return WorkflowResult(value="finished")


@app.workflow
class Large(Workflow[str]):
    """Gives a text of as many lines as it is told."""

    @app.workflow_run
    async def run(self, lines: int) -> WorkflowResult[str]:
        return WorkflowResult(value="\n".join(f"line {number} äöü" for number in range(lines)))


@app.workflow
class Fails(Workflow[str]):
    """Fails with an exception."""

    @app.workflow_run
    async def run(self) -> WorkflowResult[str]:
        raise LookupError("the ledger is gone")


@app.workflow
class Refuses(Workflow[str]):
    """Ends with an error of its own."""

    @app.workflow_run
    async def run(self) -> WorkflowResult[str]:
        return WorkflowResult(error="the ledger is closed on Sundays")


@app.tool
def add(a: int, b: int = 1) -> int:
    """Adds."""
    return a + b
