"""Temporal's definitions of our classes."""

from temporalio.workflow import _Definition

from mcp_agent.app import MCPApp
from mcp_agent.executor.temporal.definition import install
from mcp_agent.executor.workflow import Workflow

app = MCPApp(name="defined")


@app.workflow
class Plain(Workflow[str]):
    @app.workflow_run
    async def run(self) -> str:
        return "plain"


@app.workflow
class Extended(Plain):
    @app.workflow_run
    async def run(self) -> str:
        return "extended"


def test_a_workflow_that_extends_another_one_has_a_definition_of_its_own():
    install()
    definitions = [_Definition.must_from_class(cls) for cls in (Plain, Extended, Plain)]
    assert [(made.name, made.cls) for made in definitions] == [("Plain", Plain), ("Extended", Extended), ("Plain", Plain)]
