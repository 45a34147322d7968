"""A module that imports this package, with a workflow that does nothing."""

from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow, WorkflowResult

app = MCPApp(name="greeting")


@app.workflow
class Greet(Workflow[str]):
    @app.workflow_run
    async def run(self, name: str) -> WorkflowResult[str]:
        return WorkflowResult(value=f"hello {name}")
