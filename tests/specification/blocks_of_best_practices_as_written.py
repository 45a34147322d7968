"""Code blocks of the specification as they are written there; only imports and missing methods are added around them."""
# pyright: basic

from mcp_agent import workflow
from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow, WorkflowResult

app = MCPApp(name="best_practices")


def method_of(*classes):
    """Adds a method that a block calls and does not show."""

    def add(function):
        for cls in classes:
            setattr(cls, function.__name__, function)
        return function

    return add


# Section "Best Practices"


@app.workflow
class VersionedWorkflow(Workflow[str]):
    @app.workflow_run
    async def run(self, input: str) -> WorkflowResult[str]:
        version = workflow.get_version("processing_logic", 1, 2)

        if version == 1:
            # Old logic
            result = await self.process_v1(input)
        else:
            # New logic
            result = await self.process_v2(input)

        return WorkflowResult(value=result)


@method_of(VersionedWorkflow)
async def process_v1(self, input: str) -> str:
    return f"old {input}"


@method_of(VersionedWorkflow)
async def process_v2(self, input: str) -> str:
    return f"new {input}"
