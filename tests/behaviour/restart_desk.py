"""A workflow whose questions are open while its worker is away."""

from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow

app = MCPApp(name="restart")


@app.workflow
class Patient(Workflow[str]):
    @app.workflow_run
    async def run(self, seconds: float | None) -> str:
        """Tells which request was answered."""
        try:
            await app.context.elicit("Well?", bool, timeout=seconds)
        except TimeoutError:
            await app.context.elicit("And now?", bool)
            return "elicitation#2"
        return "elicitation#1"
