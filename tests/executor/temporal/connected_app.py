"""The app of the tests of connections. In a module of its own: workers load it once more for each run."""

from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow

app = MCPApp(name="connected")


@app.workflow
class Greets(Workflow[str]):
    @app.workflow_run
    async def run(self, name: str) -> str:
        return f"hello {name}"
