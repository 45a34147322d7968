"""Workflows that go on for a while, and say so."""

from mcp_agent import workflow
from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow, WorkflowResult

app = MCPApp(name="clock")


@app.workflow
class Sleep(Workflow[None]):
    @app.workflow_run
    async def run(self, seconds: float) -> WorkflowResult[None]:
        await workflow.sleep(seconds)
        return WorkflowResult(value=None)


@app.workflow
class Tell(Workflow[list[float]]):
    """Tells how far it is, again and again: when, in seconds since 1970."""

    @app.workflow_run
    async def run(self, times: int, every: float) -> WorkflowResult[list[float]]:
        told: list[float] = []
        for number in range(times):
            await workflow.sleep(every)
            told.append(workflow.time())
            app.context.report_progress(number + 1, times)
        return WorkflowResult(value=told)
